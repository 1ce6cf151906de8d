"""Makes `.venv` from nothing but git, make and a Python; standard library only.

`ensure.sh` starts it, `environment.py` is the sequence of steps. Nothing here is part of the
distribution.
"""
