"""The artifact type that a gate publishes."""

from tfx.types import artifact


class GateVerdict(artifact.Artifact):  # type: ignore[misc]
    """A verdict: `verdict.json` with every finding, and the custom property `passed` (0 or 1).

    The type's name is the path it is imported by (see `pipeline.__getattr__`), and `passed` is a
    custom property, because Vertex cannot see typed properties of custom artifacts in a condition.
    """

    TYPE_NAME = "pipeline.GateVerdict"
