"""A table without spans against the profile in its schema: a break of the whole of it is told."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner
from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import features_from_json
from pipeline import config_file, schema_file
from pipeline.cli.drift import drift
from pipeline.cli.init import init
from pipeline.cli.schema import schema
from pipeline.config import DriftConfig
from pipeline.drift import notes, profile, profile_text, words
from pipeline.drift.comparisons import Comparing, Comparisons
from pipeline.drift.profile_text import Profile
from pipeline.drift.report import Report
from pipeline.errors import ConfigError
from pipeline.ingest.summary import Ingested, SpanRows

ROWS = 833
FEATURES = features_from_json(
    '{"price": {"kind": "numeric"}, "kinds": {"kind": "numeric"}, "balance": {"kind": "numeric"},'
    ' "plan": {"kind": "categorical"}, "city": {"kind": "high_cardinality"},'
    ' "code": {"kind": "categorical", "type": "int"}, "note": {"kind": "text"},'
    ' "at": {"kind": "timestamp", "parts": ["hour", "month", "year"]}}'
)
Change = Callable[[dict[str, Any]], None]


def table(seed: int, rows: int = ROWS, change: Change | None = None) -> pa.Table:
    random = np.random.default_rng(seed)
    cities = random.choice(400, rows, p=(w := 1 / np.arange(1, 401)) / w.sum())
    made: dict[str, Any] = {
        "price": np.exp(2 + 0.6 * random.standard_normal(rows)).astype(np.float32),
        "kinds": random.choice([0.1, 0.2, 0.3], rows).astype(np.float32),
        "balance": (50 + 30 * random.standard_normal(rows)).astype(np.float32),
        "plan": random.choice(["basic", "plus = more", "50 %"], rows, p=[0.6, 0.3, 0.1]),
        "city": np.array([f"city {n}" for n in cities]),
        "code": random.choice([1, 2, 3], rows),
        "note": np.array(["a word"] * rows),
        "at": 1_700_000_000 + 86_400 * random.integers(0, 28, rows) + 3600 * 9,
        "label": (random.random(rows) < 0.3).astype(int),
    }
    made["price"] = np.where(random.random(rows) < 0.05, np.nan, made["price"])
    if change:
        change(made)
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in made.items()})


def reviewed(seed: int = 0, rows: int = 1_500) -> schema_pb2.Schema:
    made = profile.measured(table(seed, rows), FEATURES, "label")
    return profile.put(schema_pb2.Schema(), made)


def report(contract: schema_pb2.Schema, rows: pa.Table) -> Report:
    """What a run of one table finds: its rows dealt to both splits."""
    here = np.arange(rows.num_rows) % 5 == 0
    samples = {
        ("train", "all"): rows.filter(pa.array(~here)),
        ("eval", "all"): rows.filter(pa.array(here)),
    }
    counts = {split: one.num_rows for (split, _), one in samples.items()}
    ingested = Ingested("", counts, counts, {"all": SpanRows(rows.num_rows, 0, {}, {})}, {})
    comparing = Comparing(drift=DriftConfig(), label="label", calibration_max=0.1)
    return Comparisons(comparing, FEATURES, None, contract, ingested, samples).report(None)


def told(rows: pa.Table) -> dict[str, Any]:
    made = report(reviewed(), rows)
    return {one.feature: one for one in words.findings(made) if one.kind != "splits"}


@pytest.mark.parametrize("seed", range(1, 9))
def test_another_sample_of_the_same_passes(seed: int) -> None:
    assert told(table(seed)) == {}


@pytest.mark.parametrize("rows", [200, 5_000])
def test_a_smaller_or_larger_one_passes_too(rows: int) -> None:
    assert told(table(11, rows)) == {}


def _some(made: dict[str, Any], name: str, value: Any, share: int) -> None:
    made[name] = np.where(np.arange(ROWS) % 100 < share, value, made[name])


def _renamed(made: dict[str, Any]) -> None:
    basic = np.flatnonzero(made["plan"] == "basic")
    made["plan"][basic[: round(0.11 * ROWS)]] = "50 %"


BROKEN: dict[str, tuple[str, str, Change]] = {
    "a unit": ("price", "'> ", lambda made: made.update(price=made["price"] * 100)),
    "a smaller unit": ("price", "'≤ ", lambda made: made.update(price=made["price"] / 100)),
    "a sign": ("balance", "'≤ ", lambda made: made.update(balance=-made["balance"])),
    "missing": ("price", "missing in 5.", lambda made: _some(made, "price", np.nan, 10)),
    "a category of 11 points": ("plan", "'basic' went from", _renamed),
    "a new value": ("plan", "1 value(s) never seen", lambda made: _some(made, "plan", "new", 6)),
    "a code": ("code", "'3' went from", lambda made: _some(made, "code", 3, 20)),
    "the clock": ("at.hour", "went from", lambda made: made.update(at=made["at"] + 5 * 3600)),
    "the label": ("label", "label's rate", lambda made: made.update(label=1 - made["label"])),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_break_of_the_whole_table_is_told(case: str) -> None:
    name, fragment, change = BROKEN[case]
    found = told(table(1, change=change))
    assert set(found) == {name}
    assert found[name].kind == ("label" if name == "label" else "drift")
    assert fragment in found[name].message
    assert "the reviewed profile" in found[name].message
    assert "headrace schema accept" in found[name].message
    assert found[name].value > found[name].threshold


def test_where_values_were_seen_once_others_may_come() -> None:
    def rare(made: dict[str, Any]) -> None:
        picked = np.random.default_rng(len(made["plan"])).integers(0, 3_000, len(made["plan"]))
        made["city"] = np.where(picked < 200, [f"rare {n}" for n in picked], "town")

    contract = profile.put(
        schema_pb2.Schema(), profile.measured(table(3, 1_000, rare), FEATURES, "label")
    )
    assert len(profile_text.read(contract)["city"].bins) < 100
    found = words.findings(report(contract, table(4, change=rare)))
    assert [one.message for one in found if one.kind != "splits"] == []


def test_a_value_too_long_to_review_is_counted_with_the_others() -> None:
    def wordy(made: dict[str, Any]) -> None:
        made["plan"] = np.where(made["plan"] == "plus = more", "x" * 300, made["plan"])

    rows = table(3, change=wordy)
    made = profile.measured(rows, FEATURES, "label")["plan"]
    values = rows["plan"].to_pylist()
    assert made.bins == {name: values.count(name) for name in ("basic", "50 %")}
    assert made.rest == values.count("x" * 300)


def test_rows_of_later_months_are_no_drift() -> None:
    later = table(2, change=lambda made: made.update(at=made["at"] + 86_400 * 7 * 30))
    assert told(later) == {}


def test_a_schema_without_a_profile_says_what_to_do() -> None:
    made = report(schema_pb2.Schema(), table(1))
    assert made.uncalibrated == notes.NO_PROFILE
    assert "headrace schema accept" in made.uncalibrated
    assert report(reviewed(), table(1)).uncalibrated == ""


def test_lines_hold_what_was_counted_and_any_name() -> None:
    wanted = [
        Profile("a b=c%", "categorical", {"x = 'y'": 3, "": 1, "日本\n": 2, "\\": 5}, 4, 5),
        Profile("n", "numeric", {"-1.5": 1, "0.1": 2, "1e+30": 3}, 0, 7),
        Profile("y", "label", {"0": 7, "1": 3}, 0, 0),
    ]
    contract = schema_pb2.Schema()
    contract.annotation.comment.append("mine")
    profile_text.write(contract, wanted)
    assert list(profile_text.read(contract).values()) == wanted
    assert contract.annotation.comment[0] == "mine"
    line = "profile n numeric missing=7 above=0 -1.5=1 0.1=2 1e+30=3"
    assert contract.annotation.comment[2] == line
    profile_text.write(contract, [])
    assert list(contract.annotation.comment) == ["mine"]


@pytest.mark.parametrize(
    "line",
    [
        "profile n",
        "profile n numeric above=0 missing=0",
        "profile n number missing=0 above=0",
        "profile n numeric missing=0 above=0 x=1",
        "profile n numeric missing=0 above=0 2=1 1=1",
        "profile n numeric missing=0 above=0 1=-1",
    ],
)
def test_a_line_that_is_none_is_a_fault_of_the_file(tmp_path: Path, line: str) -> None:
    path = tmp_path / "schema.pbtxt"
    path.write_text(f'feature {{ name: "n" type: FLOAT }}\nannotation {{ comment: "{line}" }}\n')
    with pytest.raises(ConfigError, match="is no line of a profile"):
        schema_file.read(str(path))


def test_init_writes_it_show_compares_and_accept_renews_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def put(seed: int, factor: float) -> None:
        random = np.random.default_rng(seed)
        price, plans = factor * random.lognormal(2, 0.6, 1_200), ["basic", "plus"]
        plan, bought = random.choice(plans, 1_200), random.random(1_200) < 0.4
        hour, code = random.integers(8, 18, 1_200), random.choice(["101", "102", "103"], 1_200)
        rows = zip(price, plan, hour, code, np.where(bought, "yes", "no"), strict=True)
        lines = [
            f"{p:.2f},{q},2024-03-{1 + n % 28:02d} {h:02d}:00:00,{c},{b}"
            for n, (p, q, h, c, b) in enumerate(rows)
        ]
        lines = ["price,plan,at,zip_code,bought", *lines, ""]
        Path("shop.csv").write_text("\n".join(lines))

    def run(command: Any, *arguments: str) -> Any:
        return CliRunner().invoke(command, arguments, catch_exceptions=False)

    put(1, 1.0)
    assert run(init, "--data", "shop.csv", "--label", "bought").exit_code == 0
    config = config_file.load("headrace.toml")
    before = Path(config.data.schema_file).read_text()
    profiles = profile_text.read(schema_file.read(config.data.schema_file))
    assert {"price", "plan", "at.hour", "zip_code", "label"} <= set(profiles)
    assert list(profiles["zip_code"].bins) and not profiles["zip_code"].missing
    assert "nothing to write" in run(schema, "accept").output
    put(2, 1.0)
    assert json.loads(run(drift, "show", "--json").stdout)["alarms"] == []
    put(2, 100.0)
    differs = run(schema, "diff")
    assert differs.exit_code == 5
    assert "~ price: '> " in differs.output
    assert "next: headrace schema accept" in differs.output
    seen = json.loads(run(drift, "show", "--json").stdout)
    assert [one["feature"] for one in seen["alarms"]] == ["price"]
    assert "price accepted" in run(schema, "accept", "price").output
    after = Path(config.data.schema_file).read_text()
    changed = set(after.splitlines()) - set(before.splitlines())
    assert [line.split()[2] for line in changed if "profile" in line] == ["price"]
    assert json.loads(run(drift, "show", "--json").stdout)["alarms"] == []
    put(3, 1.0)
    assert "price accepted" in run(schema, "accept").output
    assert json.loads(run(drift, "show", "--json").stdout)["alarms"] == []


def test_a_schema_of_an_earlier_version_gets_its_profile_by_accept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here is made what the note of such a run asks for."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(4)
    bought = random.random(400) < 0.4
    lines = [f"{p:.2f},{b}" for p, b in zip(random.lognormal(size=400), bought, strict=True)]
    Path("shop.csv").write_text("\n".join(["price,bought", *lines, ""]))
    made = CliRunner().invoke(init, ["--data", "shop.csv", "--label", "bought"])
    assert made.exit_code == 0, made.output
    path = config_file.load("headrace.toml").data.schema_file
    written = Path(path).read_text()
    Path(path).write_text(written[: written.index("annotation {")])
    assert profile_text.read(schema_file.read(path)) == {}
    assert "the table's profile accepted" in CliRunner().invoke(schema, ["accept"]).output
    assert set(profile_text.read(schema_file.read(path))) == {"price", "label"}


def test_a_first_run_puts_it_into_the_schema_that_it_wrote(bench: Any, tmp_path: Path) -> None:
    path = tmp_path / "schema.pbtxt"
    path.write_text('# Mine.\nfeature { name: "fare" type: FLOAT }\n')
    table_of = {"data": {"pattern": "a.csv", "schema_file": str(path)}}
    config = bench.config(**table_of)
    made = bench.ingest(bench.write_csv("a.csv", bench.rows(60)), bench.plan(**table_of))
    profile.write_first(config, str(made.folder))
    assert path.read_text().startswith('# Mine.\nfeature { name: "fare" type: FLOAT }\n')
    profiles = profile_text.read(schema_file.read(str(path)))
    assert {"fare", "flag", "started.hour", "minutes", "label"} <= set(profiles)
    fare = profiles["fare"]
    assert sum(fare.bins.values()) + fare.rest + fare.missing == len(made.kept)
    before = path.read_text()
    profile.write_first(bench.config(data={"schema_file": str(path)}), str(made.folder))
    assert path.read_text() == before, "spans have a window to be compared with"
