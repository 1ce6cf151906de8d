"""The methods of the prediction and model services, on protos and without a transport."""

from serving.server.example_inference import (
    classify,
    classify_with,
    example_count,
    multi_inference,
    multi_inference_with,
    regress,
    regress_with,
)
from serving.server.prediction import get_metadata, get_status, predict, predict_with

__all__ = [
    "classify",
    "classify_with",
    "example_count",
    "get_metadata",
    "get_status",
    "multi_inference",
    "multi_inference_with",
    "predict",
    "predict_with",
    "regress",
    "regress_with",
]
