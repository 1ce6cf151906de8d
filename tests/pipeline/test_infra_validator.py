"""What is done with a verdict; the proof itself is tested in tests/models/test_proof.py."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from serving.proof.verdict import Demands, Finding, Verdict

pytestmark = pytest.mark.tfx


@pytest.fixture
def validated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs the executor with a proof that finds what it is told."""
    from tfx.types import standard_artifacts

    from pipeline.components import infra_validator
    from pipeline.config import ProofConfig

    (tmp_path / "model" / "Format-Serving").mkdir(parents=True)
    (tmp_path / "model" / "Format-Serving" / "saved_model.pb").write_bytes(b"graph")
    seen: list[tuple[list[str], Demands]] = []

    def run(*findings: Finding) -> SimpleNamespace:
        def prove(model: Path, demands: Demands) -> Verdict:
            seen.append(([path.name for path in model.iterdir()], demands))
            return Verdict(findings)

        monkeypatch.setattr(infra_validator, "prove", prove)
        model, blessing = standard_artifacts.Model(), standard_artifacts.InfraBlessing()
        model.uri, blessing.uri = str(tmp_path / "model"), str(tmp_path / "blessing")
        infra_validator.InfraValidatorExecutor().Do(
            {"model": [model]},
            {"blessing": [blessing]},
            {"demands": ProofConfig(latency_p99_ms=7).model_dump_json(), "code": ""},
        )
        return SimpleNamespace(blessing=blessing, folder=tmp_path / "blessing", seen=seen)

    return run


def test_a_proven_model_is_blessed_as_tfx_blesses(validated: Any) -> None:
    from tfx.components.util import model_utils

    done = validated(Finding("load", True, "available", {"load_seconds": 1.5}))
    assert model_utils.is_infra_validated(done.blessing)
    assert (done.folder / "INFRA_BLESSED").exists()
    told = json.loads((done.folder / "proof.json").read_text())
    assert told["findings"][0]["figures"] == {"load_seconds": 1.5}
    assert done.seen == [(["saved_model.pb"], Demands(latency_p99_ms=7))]


def test_one_failed_check_is_no_blessing(validated: Any) -> None:
    from tfx.components.util import model_utils

    done = validated(Finding("load", True, "available"), Finding("size", False, "too large"))
    assert not model_utils.is_infra_validated(done.blessing)
    assert (done.folder / "INFRA_NOT_BLESSED").exists()
    assert not (done.folder / "INFRA_BLESSED").exists()
    assert "too large" in (done.folder / "proof.json").read_text()


# protobuf warns of what TFX does, and takes us for the culprit.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_node_that_waits_runs_beside_the_next_and_before_those_that_need_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
    from tfx.orchestration import metadata
    from tfx.orchestration.pipeline import Pipeline

    from pipeline.local import runner

    both, order = threading.Barrier(2, timeout=30), []

    def launch(self: Any) -> None:
        name = self._pipeline_node.node_info.id
        if name in ("InfraValidator", "Evaluator"):
            both.wait()  # passes only if both are running
        order.append(name)

    monkeypatch.setattr(runner.launcher.Launcher, "launch", launch)

    names = ("InfraValidator", "Evaluator", "Pusher")
    nodes = {name: ImportSchemaGen(schema_file="any").with_id(name) for name in names}
    nodes["Pusher"].add_upstream_nodes([nodes["InfraValidator"], nodes["Evaluator"]])
    pipeline = Pipeline(
        pipeline_name="p",
        pipeline_root=str(tmp_path),
        enable_cache=True,
        components=list(nodes.values()),
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            str(tmp_path / "metadata.db")
        ),
    )
    ended: list[str] = []
    runner.run(pipeline, "run", lambda name, seconds: ended.append(name) if seconds else None)
    assert order[-1] == "Pusher" and set(order) == set(nodes) == set(ended)

    def fail(self: Any) -> None:
        if self._pipeline_node.node_info.id == "InfraValidator":
            raise ValueError("no server")
        order.append(self._pipeline_node.node_info.id)

    monkeypatch.setattr(runner.launcher.Launcher, "launch", fail)
    order.clear()
    with pytest.raises(runner.NodeError, match="InfraValidator"):
        runner.run(pipeline, "again", lambda name, seconds: None)
    assert "Pusher" not in order
