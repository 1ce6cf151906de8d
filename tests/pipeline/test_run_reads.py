"""Whatever a run reads is known by its content: an edit of it changes the run, a rerun does not."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import code_reach, files, outside, provenance, run_plan, schema_file, schema_fit
from pipeline.drift import calibration
from pipeline.drift.report import Calibration
from pipeline.errors import ConfigError
from pipeline.local import run as local
from pipeline.spans import window_of
from serving.manifest import Manifest

pytestmark = pytest.mark.tfx

SCHEMA = 'feature { name: "fare" type: FLOAT float_domain { min: 0 } }\n'


@pytest.fixture
def config(bench: Any) -> Any:
    """A project with two spans, a schema, drift thresholds, a log of requests and a server."""
    for month in (11, 12):
        bench.write_csv(f"data/2019-{month}.csv", bench.rows(fare=float(month)))
    bench.write("schema.pbtxt", SCHEMA)
    bench.write("log/requests-1", "one")
    server = bench.write("tensorflow_model_server", "#!/bin/sh\n")
    made = bench.config(
        drift={"request_log": "log/*"}, proof={"server": str(server)}, window={"train_spans": 1}
    )
    calibration.write(made, _thresholds(0.1))
    return made


def _thresholds(bound: float) -> Calibration:
    return Calibration.model_validate(
        {
            "date": dt.date(2020, 1, 1),
            "spans": ["2019-11", "2019-12"],
            "span_rows": 6,
            "false_alarms": 100,
            "correction": "holm",
            "detectable": {},
            "thresholds": {"fare": {"jensen_shannon": bound}},
        }
    )


def _keys(config: Any) -> dict[str, str]:
    """What TFX's cache would compare of each node, beside its inputs."""
    from tfx.dsl.components.base import base_component

    from pipeline.components.content_driver import ContentDriver
    from pipeline.graph import create_pipeline

    pipeline = create_pipeline(config, run_plan.plan_run(config, span="", root="/artifacts"))
    keys = {}
    for node in pipeline.components:
        if not isinstance(node, base_component.BaseComponent):
            continue
        properties = {
            name: str(value) for name, value in node.exec_properties.items() if value is not None
        }
        if issubclass(node.DRIVER_CLASS, ContentDriver):
            properties |= node.DRIVER_CLASS(None).content(properties)
        keys[node.id] = json.dumps(properties, sort_keys=True)
    return keys


def _append(name: str, text: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        with open(folder / name, "a", encoding="utf-8") as file:
            file.write(text)

    return edit


def _tightened(folder: Path) -> None:
    (folder / "schema.pbtxt").write_text(SCHEMA.replace("min: 0", "min: 3"))


def _thresholds_moved(folder: Path) -> None:
    file = folder / "drift.json"
    file.write_text(file.read_text().replace("0.1", "0.2"))


EDITS: dict[str, tuple[Callable[[Path], None], set[str]]] = {
    "a data file": (
        _append("data/2019-12.csv", "9,9,1,5,Y,a,2019-12-01,2019-12-01,b,1\n"),
        {"SpanExampleGen"},
    ),
    "the schema": (_tightened, {"ImportSchemaGen"}),
    "a value accepted": (
        _append("schema.pbtxt", 'string_domain { name: "flag" value: "Z" }\n'),
        {"ImportSchemaGen"},
    ),
    "drift.json": (_thresholds_moved, {"DistributionValidator"}),
    "drift.json removed": (
        lambda folder: (folder / "drift.json").unlink(),
        {"DistributionValidator"},
    ),
    "the log of requests": (_append("log/requests-1", "two"), {"DistributionValidator"}),
    "a new log of requests": (_append("log/requests-2", "two"), {"DistributionValidator"}),
    "the server that proves": (_append("tensorflow_model_server", "true\n"), {"InfraValidator"}),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_reaches_the_node_that_reads_the_file(
    name: str, config: Any, tmp_path: Path
) -> None:
    edit, nodes = EDITS[name]
    before = _keys(config)
    assert _keys(config) == before
    edit(tmp_path)
    after = _keys(config)
    changed = {node for node in before if before[node] != after[node]}
    assert changed - {"Pusher"} == nodes  # the Pusher, which writes all of it down, always looks


@pytest.mark.parametrize("name", EDITS)
def test_a_version_is_not_up_to_date_once_a_file_was_edited(
    name: str, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def up_to_date() -> int | None:
        window = window_of(config, None)
        return local._up_to_date(config, window, "" if "data" in name else "data")

    made = run_plan.plan_run(config, span="", root="/artifacts").provenance
    _pretend_pushed(
        monkeypatch,
        span="2019-12",
        data_fingerprint="data",
        schema_sha256=schema_fit.digest(config),
        **made,
    )
    if name != "a data file":  # of which preflight takes the fingerprint
        assert up_to_date() == 1
    EDITS[name][0](tmp_path)
    assert up_to_date() is None


def _pretend_pushed(monkeypatch: pytest.MonkeyPatch, **made: Any) -> None:
    manifest = Manifest.model_construct(version=1, **made)

    class Pushed:
        def __init__(self, *arguments: Any) -> None:
            self.manifest, self.number = manifest, 1

        def versions(self) -> list[Any]:
            return [self]

        def verify(self, number: int) -> list[str]:
            return []

    monkeypatch.setattr(local, "Registry", Pushed)


def test_what_is_said_counts_not_how_it_is_laid_out(config: Any, tmp_path: Path) -> None:
    before = _keys(config)
    _append("schema.pbtxt", "# reviewed by Ada\n")(tmp_path)
    assert _keys(config) == before


def test_a_schema_that_is_none_ends_the_node_by_name(config: Any, tmp_path: Path) -> None:
    from pipeline.components.reviewed_schema import SchemaDriver

    (tmp_path / "schema.pbtxt").write_text("featur {")
    with pytest.raises(ConfigError, match=r"(?s)schema\.pbtxt.*text form"):
        SchemaDriver(None).content({"schema_file": config.data.schema_file})


def test_the_driver_hands_on_the_properties_and_the_digest(config: Any) -> None:
    from tfx.orchestration.portable import data_types

    from pipeline.components.reviewed_schema import SchemaDriver

    path = config.data.schema_file
    output = SchemaDriver(None).run(
        data_types.ExecutionInfo(exec_properties={"schema_file": path}, pipeline_run_id="run")
    )
    told = {name: value.string_value for name, value in output.exec_properties.items()}
    assert told == {"schema_file": path, "content": schema_file.digest(path)}


def test_a_log_that_is_rotated_away_meanwhile_is_none(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = outside.requests_digest(config.drift.request_log)
    gone = str(tmp_path / "log" / "requests-0")
    there = files.glob(config.drift.request_log)
    monkeypatch.setattr(outside.files, "glob", lambda pattern: [gone, *there])
    assert outside.requests_digest(config.drift.request_log) == alone
    assert outside.requests_digest(None) == ""


# --- code --------------------------------------------------------------------------------


def test_a_module_reaches_what_it_imports_wherever_it_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    sources = {
        "pipeline/a.py": "import os\nfrom pipeline import b\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from pipeline import unseen\n",
        "pipeline/b.py": "def f():\n    from pipeline.deep.c import g\n    import serving.d as d\n",
        "pipeline/deep/__init__.py": "",
        "pipeline/deep/c.py": "from pipeline import a\n",
        "pipeline/unseen.py": "",
        "pipeline/apart.py": "",
        "serving/d.py": "",
    }
    for name, source in sources.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(source)
    assert code_reach.reach("pipeline/a.py") == (
        "pipeline/a.py",
        "pipeline/b.py",
        "pipeline/deep/__init__.py",
        "pipeline/deep/c.py",
        "serving/d.py",
    )


@pytest.mark.parametrize(
    "module, kinds",
    [
        ("pipeline/sql.py", {"ingest", "drift", "gate"}),
        ("pipeline/ingest/encode.py", {"ingest"}),
        ("pipeline/files.py", {"ingest", "drift", "gate", "judge", "proof"}),
        ("pipeline/drift/words.py", {"drift", "gate"}),
        ("pipeline/intervals.py", {"judge"}),
        ("serving/layout.py", {"proof"}),
        ("serving/proof/prove.py", {"proof"}),
        ("serving/server/rest_api.py", {"proof"}),
        ("models/network.py", {"models"}),
        ("pipeline/cli/run.py", set()),
    ],
)
def test_an_edit_of_code_is_in_the_key_of_whatever_runs_it(module: str, kinds: set[str]) -> None:
    assert (provenance.ROOT / module).is_file()
    reached = {kind for kind, parts in run_plan._CODE.items() if module in code_reach.reach(*parts)}
    assert reached >= kinds
    assert kinds or not reached


def test_all_that_the_plan_names_is_there() -> None:
    assert all((provenance.ROOT / p).exists() for group in run_plan._CODE.values() for p in group)
    assert (provenance.ROOT / "serving") in [provenance.ROOT / p for p in run_plan.ALL_CODE]
