"""The job against the protocol buffers: an unknown field, or one of another type, is a fault."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from kfp.pipeline_spec import pipeline_spec_pb2 as spec_pb

from pipeline.vertex.lint.finding import Finding

_REMEDY = "Compile it anew with `headrace vertex compile`; the file was changed by hand."


def check(job: dict[str, Any]) -> Iterator[Finding]:
    """Parses job, spec and deployment strictly."""
    spec = job.get("pipelineSpec")
    deployment = spec.get("deploymentSpec") if isinstance(spec, dict) else None
    parts: tuple[tuple[str, Any, Message], ...] = (
        ("the job", job, spec_pb.PipelineJob()),
        ("pipelineSpec", spec, spec_pb.PipelineSpec()),
        ("deploymentSpec", deployment, spec_pb.PipelineDeploymentConfig()),
    )
    for name, part, message in parts:
        if not isinstance(part, dict):
            yield Finding("protos", "", f"{name} is missing or is not an object", _REMEDY)
            continue
        try:
            json_format.ParseDict(part, message)
        except json_format.ParseError as error:
            reason = " ".join(str(error).split())[:300]
            yield Finding(
                "protos", "", f"{name} is not as the protocol buffer says: {reason}", _REMEDY
            )
