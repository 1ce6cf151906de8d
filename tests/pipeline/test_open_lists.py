"""Lists that grow let a share of new values pass; lists that do not are closed."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline import schema_file
from pipeline.open_lists import growth, open_list


def _companies(seed: int, spans: int, *, new: int, rows: int = 500) -> list[list[str]]:
    """Spans of orders: each brings some companies that then stay; old ones order more."""
    draw = np.random.default_rng(seed)
    known = [f"company {number}" for number in range(20)]
    made = []
    for _ in range(spans):
        known += [f"company {len(known) + number}" for number in range(new)]
        weights = 1 / np.arange(1, len(known) + 1)
        made.append(list(draw.choice(known, rows, p=weights / weights.sum())))
    return made


def _beside(values: list[str], listed: set[str]) -> float:
    return float(np.mean([value not in listed for value in values]))


@pytest.mark.parametrize("new", [1, 3, 10])
@pytest.mark.parametrize("seed", range(5))
def test_the_next_spans_pass_and_a_burst_of_garbage_does_not(seed: int, new: int) -> None:
    spans = _companies(seed, 12, new=new)
    for until in (4, 6, 9):
        let = growth([pa.array(part) for part in spans[:until]]).let_pass
        listed = {value for part in spans[:until] for value in part}
        assert 0 < let < 0.5
        for coming in spans[until : until + 2]:
            assert _beside(coming, listed) <= let
        garbage = [value if at % 2 else f"�{at}" for at, value in enumerate(spans[until])]
        assert _beside(garbage, listed) > let


def test_a_list_that_has_not_grown_is_closed() -> None:
    draw = np.random.default_rng(0)
    spans = [pa.array(draw.choice(["red", "green", "blue"], 300)) for _ in range(8)]
    assert growth(spans).let_pass == 0.0
    # The first span alone has all of them; a value that is long gone changes nothing.
    assert growth([pa.array(["red", "old", "old", "blue"] * 9), *spans[1:]]).let_pass == 0.0


def test_missing_is_no_value() -> None:
    found = growth([pa.array(["a", "b"] * 50), pa.array(["a", None, "", "b"] * 50)])
    assert (found.late, found.let_pass) == (0, 0.0)
    assert growth([]).let_pass == growth([pa.array([], pa.string())]).let_pass == 0.0


def test_what_is_measured() -> None:
    parts = [["a"] * 9 + ["b"], ["a"] * 10, ["a"] * 8 + ["c"] * 2, ["a"] * 6 + ["c"] * 3 + ["d"]]
    found = growth([pa.array(part) for part in parts])
    assert (found.late, found.rows) == (2, 10)
    assert found.share == pytest.approx(0.2)  # two rows of ten brought "c"
    assert found.aged == pytest.approx(0.4)  # "c" and "d" are younger than half of the past
    assert found.chance == pytest.approx(2 / 40)  # "b" and "d" stand once


@pytest.mark.parametrize(
    "let, mass, listed",
    [(0.0, 1.0, True), (0.01, 0.99, True), (0.4, 0.6, True), (0.9, 1.0, False)],
)
def test_what_is_written(let: float, mass: float, listed: bool) -> None:
    feature = schema_pb2.Feature(name="c", type=schema_pb2.BYTES, domain="c")
    told = open_list(feature, let)
    assert feature.distribution_constraints.min_domain_mass == pytest.approx(mass)
    assert bool(feature.domain) is listed and bool(told) is (let > 0)


# --- where schemas are made ----------------------------------------------------------------


def _write(folder: Path, spans: list[list[str]]) -> None:
    draw = np.random.default_rng(1)
    for number, companies in enumerate(spans):
        with open(folder / f"2024-{number + 1:02d}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["amount", "company", "colour", "late"])
            for company in companies:
                amount = round(float(draw.normal()), 3)
                colour = draw.choice(["red", "green", "blue"])
                writer.writerow([amount, company, colour, int(amount + draw.normal() > 0)])


@pytest.mark.tfx
def test_init_opens_what_grows_and_closes_what_does_not(tmp_path: Path) -> None:
    from pipeline import config_file, schema_infer, schema_look
    from pipeline.schema_fit import Configured
    from pipeline.starter import write

    spans = _companies(3, 9, new=2, rows=400)
    data = tmp_path / "data"
    data.mkdir()
    _write(data, spans[:8])
    target = tmp_path / "headrace.toml"
    write.write(str(data), "late", str(target), force=False, say=lambda text: None)
    config = config_file.load(str(target))
    schema = schema_file.read(config.data.schema_file)
    mass = {f.name: f.distribution_constraints.min_domain_mass for f in schema.feature}
    assert config.features["company"].kind == "categorical"
    assert 0.5 < mass["company"] < 0.99 and mass["colour"] == 1.0
    assert "others may come" in Path(config.data.schema_file).read_text()

    def anomalies() -> set[str]:
        seen = schema_look.look(config, span="2024-09", whole_window=False)
        stats = schema_infer.statistics(seen.rows, Configured.of(config).columns, schema)
        return set(schema_infer.anomalies(schema, stats))

    _write(data, spans)
    assert anomalies() == set()
    _write(data, [*spans[:8], [f"�{number}" for number in range(400)]])
    assert anomalies() == {"company"}


@pytest.mark.tfx
def test_a_first_run_without_init_does_so_too(bench: Any) -> None:
    inferred = """
        feature { name: "flag" type: BYTES domain: "flag" }
        feature { name: "note" type: BYTES domain: "note" }
        feature { name: "label" type: INT }
        string_domain { name: "flag" value: "Y" value: "N" }
        string_domain { name: "note" value: "a" }
    """
    bench.write("inferred/schema.pbtxt", inferred)
    config = bench.config()

    def lists(*flags: list[str]) -> dict[str, float | None]:
        parts = [pa.table({"flag": part, "note": ["a"] * len(part)}) for part in flags]
        schema_file.write_inferred(config, str(bench.folder / "inferred"), parts)
        schema = schema_file.read(config.data.schema_file)
        assert {domain.name for domain in schema.string_domain} == {"flag"}
        return {
            f.name: f.distribution_constraints.min_domain_mass if f.domain else None
            for f in schema.feature
        }

    steady = ["Y", "N"] * 100
    assert lists(steady, steady, steady) == {"flag": 1.0, "note": None, "label": None}
    grown = [*["Y", "N"] * 98, *["X"] * 4]
    assert lists(steady, steady, grown)["flag"] == pytest.approx(0.9, abs=0.06)
