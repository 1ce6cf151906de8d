"""A run on this machine: checks, lock, TFX's LocalDagRunner, and the honest outcome."""
