"""The same pipeline on Vertex AI Pipelines: compiled, linted, submitted, and rehearsed here."""
