"""LocalDagRunner that says which node it is at, and runs under a given run id.

A node that mostly waits for another process runs beside those that do not depend on it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from absl import logging
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

#: Node id, and seconds it took (None when it starts).
Progress = Callable[[str, float | None], None]


#: Nodes that wait for another process: their time is no other's.
BESIDE = frozenset({"InfraValidator"})


class NodeError(Exception):
    """A node failed; the cause is what its executor or driver raised."""

    def __init__(self, node: str) -> None:
        self.node = node
        super().__init__(f"{node} failed")


class ProgressRunner(local_dag_runner.LocalDagRunner):  # type: ignore[misc]
    """Runs node after node, as its base class does; that one tells nobody where it is."""

    def __init__(self, run_id: str, progress: Progress) -> None:
        super().__init__()
        self._run_id, self._progress = run_id, progress

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: Any = None) -> None:
        """See base class; partial runs are not supported.

        Raises:
            NodeError: a node failed; nodes after it were not started.
        """
        del run_options
        launch = self.launcher(pipeline)
        nodes = [item.pipeline_node for item in pipeline.nodes]
        waiting = [node for node in nodes if node.node_info.id in BESIDE]
        beside: dict[str, Future[None]] = {}
        done: set[str] = set()
        with ThreadPoolExecutor(max_workers=1) as thread:

            def start_beside() -> None:
                for node in list(waiting):
                    if done.issuperset(node.upstream_nodes):
                        waiting.remove(node)
                        beside[node.node_info.id] = thread.submit(launch, node)

            for node in nodes:
                start_beside()
                if node.node_info.id in BESIDE:
                    continue
                for upstream in beside.keys() & set(node.upstream_nodes):
                    beside[upstream].result()
                launch(node)
                done.add(node.node_info.id)
            start_beside()
            for future in beside.values():
                future.result()

    def launcher(
        self, pipeline: pipeline_pb2.Pipeline
    ) -> Callable[[pipeline_pb2.PipelineNode], None]:
        """Gives a compiled pipeline this run's id; what runs one of its nodes, and tells of it."""
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline, {"pipeline-run-id": self._run_id}
        )
        deployment = runner_utils.extract_local_deployment_config(pipeline)
        connection = deployment.metadata_connection_config
        config = getattr(connection, connection.WhichOneof("connection_config"))

        def launch(node: pipeline_pb2.PipelineNode) -> None:
            name = node.node_info.id
            started = time.monotonic()
            logging.info("Node %s is running.", name)
            self._progress(name, None)
            try:
                launcher.Launcher(
                    pipeline_node=node,
                    mlmd_connection=metadata.Metadata(config),
                    pipeline_info=pipeline.pipeline_info,
                    pipeline_runtime_spec=pipeline.runtime_spec,
                    executor_spec=runner_utils.extract_executor_spec(deployment, name),
                    custom_driver_spec=runner_utils.extract_custom_driver_spec(deployment, name),
                ).launch()
            except Exception as error:
                raise NodeError(name) from error
            finally:
                self._progress(name, time.monotonic() - started)

        return launch


def run(pipeline: Pipeline, run_id: str, progress: Progress) -> list[str]:
    """Runs a pipeline here.

    Returns:
        Ids of all its nodes, in order.
    """
    ProgressRunner(run_id, progress).run(pipeline)
    return [node.id for node in pipeline.components]
