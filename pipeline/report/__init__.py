"""The page of a run: what came in, what was found, how good the model is, what was pushed."""
