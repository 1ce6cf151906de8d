"""What is wrong with a compiled job, before Vertex would say so, or would run it all the same."""
