"""The artifact type that comparisons of distributions are published as."""

from tfx.types import artifact


class DriftReport(artifact.Artifact):  # type: ignore[misc]
    """How far distributions lie apart: `drift.json`.

    The type's name is the path it is imported by (see `pipeline.__getattr__`).
    """

    TYPE_NAME = "pipeline.DriftReport"
