"""How a model is used: the registry of pushed versions, servers and clients.

Nothing here imports TFX, TensorFlow, `pipeline` or `models`: a model arrives as a folder, and the
command line that lists versions has to answer before TensorFlow could be loaded.
"""
