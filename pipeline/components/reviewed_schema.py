"""ImportSchemaGen, keyed by what the schema file says and fitted to the configuration.

What TFX lacks: its own node is cached by the file's path, so a contract that was tightened, or
whose new values were accepted, would be replaced by the one of the first run for good; and it
copies the file as it is, so a column that the configuration has ignored since would be missed.
"""

from __future__ import annotations

import json
import os
from typing import Any

from tfx import types
from tfx.components.schema_gen import executor as schema_gen
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts

from pipeline import files, schema_file, schema_fit, schema_text
from pipeline.components.content_driver import ContentDriver
from pipeline.config import Config


class ReviewedSchemaSpec(component_spec.ComponentSpec):  # type: ignore[misc]
    """Wiring of `ReviewedSchema`."""

    INPUTS: dict[str, Any] = {}
    OUTPUTS = {"schema": component_spec.ChannelParameter(type=standard_artifacts.Schema)}
    PARAMETERS = {
        "schema_file": component_spec.ExecutionParameter(type=str),
        "configured": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }


class SchemaDriver(ContentDriver):
    """Adds the digest of the schema: comments and layout do not count, all it says does."""

    def content(self, properties: dict[str, Any]) -> dict[str, str]:
        """See base class.

        Raises:
            ConfigError: the file is no schema.
        """
        return {"content": schema_file.digest(properties["schema_file"])}


class ReviewedSchemaExecutor(base_executor.BaseExecutor):  # type: ignore[misc]
    """Copies the schema, as far as the configuration looks at what it speaks of."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `schema.pbtxt`; custom properties of the artifact say what was left out.

        Raises:
            ConfigError: the file is no schema.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        path = exec_properties["schema_file"]
        reviewed = schema_file.read(path)
        configured = schema_fit.Configured.model_validate_json(exec_properties["configured"])
        fitted = schema_fit.fit(reviewed, configured)
        with files.open_file(path, "rb") as file:
            before = file.read().decode("utf-8")
        artifact = artifact_utils.get_single_instance(output_dict["schema"])
        with fileio.open(os.path.join(artifact.uri, schema_gen.DEFAULT_FILE_NAME), "w") as file:
            file.write(schema_text.write(fitted.schema, before))
        for key, value in (
            (schema_fit.UNREVIEWED_KEY, fitted.unreviewed),
            (schema_fit.LEFT_OUT_KEY, fitted.left_out),
        ):
            artifact.set_string_custom_property(key, json.dumps(value))


class ReviewedSchema(base_component.BaseComponent):  # type: ignore[misc]
    """Brings the reviewed schema into the pipeline.

    Outputs:
        schema: `Schema`: what the file says of the columns that are configured.

    Args:
        config: the configuration; it names the file.
        code: digest of the code that decides the outcome; part of the cache key.
    """

    SPEC_CLASS = ReviewedSchemaSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(ReviewedSchemaExecutor)
    DRIVER_CLASS = SchemaDriver

    def __init__(self, config: Config, code: str) -> None:
        super().__init__(
            ReviewedSchemaSpec(
                schema_file=config.data.schema_file,
                configured=schema_fit.Configured.of(config).model_dump_json(),
                code=code,
                schema=types.Channel(type=standard_artifacts.Schema),
            )
        )
        self.with_id("ImportSchemaGen")
