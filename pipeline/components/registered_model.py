"""The artifact type that tells where a pushed model is on Vertex."""

from tfx.types import artifact


class RegisteredModel(artifact.Artifact):  # type: ignore[misc]
    """Resource names, in custom properties; there is no content. See `VertexRegistrar`.

    The type's name is the path it is imported by (see `pipeline.__getattr__`).
    """

    TYPE_NAME = "pipeline.RegisteredModel"
