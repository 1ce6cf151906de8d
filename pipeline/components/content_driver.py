"""A driver that adds to the cache key what a node reads from outside the pipeline.

TFX's cache compares inputs and parameters. A parameter that names a file stays the same when the
file is edited, and the result of the old content would be taken for that of the new.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from tfx.dsl.components.base import base_driver
from tfx.orchestration import data_types_utils
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2


class ContentDriver(base_driver.BaseDriver, portable_driver.BaseDriver):  # type: ignore[misc]
    """Asks for the content's digest before the cache is asked.

    TFX checks a component's driver for its old base class and runs it by the new one. Vertex runs
    no driver of ours: there a node with one is never answered from the cache (see
    `pipeline.vertex.compile.drivers`).
    """

    @abstractmethod
    def content(self, properties: dict[str, Any]) -> dict[str, str]:
        """Digests of what the node reads from outside, by the names they get in the cache key.

        Args:
            properties: the node's execution properties.
        """

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """See base class."""
        properties = dict(execution_info.exec_properties)
        properties |= self.content(properties)
        output = driver_output_pb2.DriverOutput()
        for key, value in properties.items():
            data_types_utils.set_metadata_value(output.exec_properties[key], value)
        return output
