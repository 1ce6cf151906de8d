"""ImportSchemaGen, keyed by what the schema file says.

What TFX lacks: its own node is cached by the file's path, so a contract that was tightened, or
whose new values were accepted, would be replaced by the one of the first run for good.
"""

from __future__ import annotations

from typing import Any

from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen

from pipeline import schema_file
from pipeline.components.content_driver import ContentDriver


class SchemaDriver(ContentDriver):
    """Adds the digest of the schema: comments and layout do not count, all it says does."""

    def content(self, properties: dict[str, Any]) -> dict[str, str]:
        """See base class.

        Raises:
            ConfigError: the file is no schema.
        """
        return {"content": schema_file.digest(properties["schema_file"])}


class ReviewedSchema(ImportSchemaGen):  # type: ignore[misc]
    """Brings the reviewed schema into the pipeline.

    Outputs:
        schema: `Schema`, a copy of the file.

    Args:
        schema_file: path or URI of the file.
    """

    DRIVER_CLASS = SchemaDriver

    def __init__(self, schema_file: str) -> None:
        super().__init__(schema_file=schema_file)
        self.with_id("ImportSchemaGen")
