"""Names, labels, titles, folders and runtime parameters, by the rules Vertex has for them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from pipeline.vertex.lint.finding import Finding
from pipeline.vertex.lint.graph import fits, title

Tree = dict[str, Any]

#: What the service takes for a pipeline's name, and google-cloud-aiplatform for a job's id.
PIPELINE_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
JOB_ID = re.compile(r"[a-z][-a-z0-9]{0,127}")
_SCHEMA_TITLE = re.compile(r"[a-z][a-z0-9-_]{2,20}[.][A-Z][a-zA-Z0-9-_]{2,49}")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/.*)?")
_MOST_LABELS = 64

_SCHEMA_VERSION = "2.1.0"


def check(job: Tree) -> Iterator[Finding]:
    """All names of a job."""
    spec = job["pipelineSpec"]
    yield from _pipeline(job, spec)
    yield from _labels(job.get("labels", {}))
    yield from _parameters(job, spec)
    for name, component in spec.get("components", {}).items():
        for kind in ("inputDefinitions", "outputDefinitions"):
            for key, artifact in component.get(kind, {}).get("artifacts", {}).items():
                yield from _title(name, key, artifact.get("artifactType", {}))


def _pipeline(job: Tree, spec: Tree) -> Iterator[Finding]:
    name = spec.get("pipelineInfo", {}).get("name", "")
    if not PIPELINE_NAME.fullmatch(name):
        yield Finding(
            "pipeline-name",
            "",
            f"the pipeline's name {name!r} may hold only a-z, 0-9 and -, at most 128",
            "Change `name` in the configuration.",
        )
    display = job.get("displayName", "")
    if not 0 < len(display.encode()) <= 128:
        yield Finding(
            "display-name",
            "",
            f"displayName must be 1 to 128 bytes, and is {len(display.encode())}",
            "Change `name` in the configuration.",
        )
    if spec.get("schemaVersion") != _SCHEMA_VERSION:
        yield Finding(
            "schema-version",
            "",
            f"schemaVersion is {spec.get('schemaVersion')!r}, not {_SCHEMA_VERSION!r}",
            "Compile it anew with `headrace vertex compile`.",
        )
    root = job.get("runtimeConfig", {}).get("gcsOutputDirectory", "")
    if not _BUCKET.fullmatch(root):
        yield Finding(
            "root",
            "",
            f"gcsOutputDirectory {root!r} is not a folder in a bucket",
            'Set vertex.root = "gs://bucket/folder".',
        )


def _labels(labels: Tree) -> Iterator[Finding]:
    remedy = "Change [vertex.labels]: a-z, 0-9, _ and -, at most 63; keys begin with a letter."
    if len(labels) > _MOST_LABELS:
        yield Finding("labels", "", f"{len(labels)} labels; {_MOST_LABELS} are allowed", remedy)
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key):
            yield Finding("labels", "", f"label {key!r} is not a label's name", remedy)
        if not _LABEL_VALUE.fullmatch(value):
            yield Finding("labels", "", f"label {key!r} has value {value!r}", remedy)


def _parameters(job: Tree, spec: Tree) -> Iterator[Finding]:
    declared = spec.get("root", {}).get("inputDefinitions", {}).get("parameters", {})
    given = job.get("runtimeConfig", {}).get("parameterValues", {})
    for name in given.keys() - declared.keys():
        yield Finding(
            "runtime-parameter",
            "",
            f"runtimeConfig sets {name!r}, which the pipeline does not declare",
            f"It declares: {', '.join(sorted(declared)) or 'none'}.",
        )
    for name, parameter in declared.items():
        wanted = parameter.get("parameterType", "")
        if name not in given and "defaultValue" not in parameter:
            yield Finding(
                "runtime-parameter",
                "",
                f"runtime parameter {name!r} has no value",
                f"Give it one in [vertex.parameters]: {name} = ….",
            )
        for where, value in (
            ("value", given.get(name)),
            ("default", parameter.get("defaultValue")),
        ):
            if value is not None and not fits(value, wanted):
                yield Finding(
                    "parameter-type",
                    "",
                    f"runtime parameter {name!r} must be {wanted}; its {where} is {value!r:.60}",
                    "Change it in [vertex.parameters].",
                )


def _title(component: str, key: str, artifact_type: Tree) -> Iterator[Finding]:
    remedy = "Name the artifact class TYPE_NAME = '<namespace>.<Title>', as pipeline.GateVerdict."
    if "instanceSchema" in artifact_type:
        try:
            parsed = yaml.safe_load(artifact_type["instanceSchema"])
        except yaml.YAMLError as error:
            problem = str(getattr(error, "problem", error))
            yield Finding(
                "artifact-schema", component, f"the type of {key!r} is not YAML: {problem}", remedy
            )
            return
        if not isinstance(parsed, dict) or "title" not in parsed:
            yield Finding("artifact-schema", component, f"the type of {key!r} has no title", remedy)
            return
    found = title(artifact_type)
    if not _SCHEMA_TITLE.fullmatch(found):
        yield Finding("schema-title", component, f"the type of {key!r} has title {found!r}", remedy)
