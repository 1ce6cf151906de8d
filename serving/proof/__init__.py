"""Proof that a server really serves a model: it loads, answers as it was trained to, and in time.

`prove` starts a model server in a process of its own, on the exported files, and asks it over gRPC
and REST what the Trainer was asked (`assets.extra/headrace_probe`).
"""
