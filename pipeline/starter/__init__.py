"""`headrace init`: from a stranger's table to a configuration and a schema that run."""
