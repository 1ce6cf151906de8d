"""The embedded model server: gRPC and REST like TensorFlow Serving's, wherever TensorFlow runs.

For development, tests, validation and small loads; the stock server is for production.
"""
