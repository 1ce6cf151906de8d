"""Each fault does what its story says, the same each time, to any data that has what it spoils."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import schema_file
from pipeline.audit import catalog, workshop
from pipeline.audit.fault import GATES, NotApplicableError

_SPOILING = [fault for fault in catalog.FAULTS.values() if fault.spoil]


def _files(scene: Any) -> dict[str, str]:
    files = [*Path(scene.config.data.path).iterdir(), Path(scene.config.data.schema_file)]
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files) if p.exists()}


def _spoil(scene: Any, name: str) -> Any:
    fault = catalog.FAULTS[name]
    scene.seed = fault.seed
    fault.spoil(scene)
    return scene


def test_there_are_enough_and_each_is_told() -> None:
    assert len(catalog.FAULTS) >= 45
    for fault in catalog.FAULTS.values():
        assert bool(fault.spoil) != bool(fault.sabotage), fault.name
        assert fault.expected or fault.escapes, fault.name
        assert set(fault.expected) <= set(GATES), fault.name
        assert fault.story.endswith(".") and fault.story[0].isupper(), fault.name


def test_every_sabotage_is_known_to_the_trainer() -> None:
    sabotage = pytest.importorskip("pipeline.audit.sabotage")
    wanted = {fault.sabotage for fault in catalog.FAULTS.values() if fault.sabotage}
    assert wanted == set(sabotage._SABOTAGES)


@pytest.mark.parametrize("fault", _SPOILING, ids=lambda fault: fault.name)
def test_it_changes_something_and_always_the_same(
    fault: Any, make_scene: Callable[..., Any]
) -> None:
    untouched, once, again = make_scene(), make_scene(), make_scene()
    _spoil(once, fault.name)
    _spoil(again, fault.name)
    changed = _files(once) != _files(untouched) or once.config.label != untouched.config.label
    assert changed
    assert _files(once) == _files(again)


def _column(scene: Any, name: str) -> Any:
    return scene.query(f'SELECT "{name}" FROM rows').column(name).to_numpy(zero_copy_only=False)


def test_units_change_on_one_number_outside_the_label(make_scene: Callable[..., Any]) -> None:
    clean, spoilt = make_scene(), _spoil(make_scene(), "miles-to-kilometres")
    np.testing.assert_allclose(
        _column(spoilt, "distance"), 1.609344 * _column(clean, "distance").astype(float)
    )
    np.testing.assert_array_equal(_column(spoilt, "fare"), _column(clean, "fare"))


def test_a_bound_is_tightened_to_what_half_of_the_rows_break(
    make_scene: Callable[..., Any],
) -> None:
    spoilt = _spoil(make_scene(), "schema-tightened")
    schema = schema_file.read(spoilt.config.data.schema_file)
    (distance,) = (f for f in schema.feature if f.HasField("float_domain"))
    assert distance.name == "distance"
    below = (_column(spoilt, "distance").astype(float) < distance.float_domain.min).mean()
    assert 0.4 < below <= 0.5


def test_labels_turn_in_one_slice_of_the_newest_span(make_scene: Callable[..., Any]) -> None:
    clean, spoilt = make_scene(), _spoil(make_scene(), "labels-flipped-in-slice")
    turned = clean.labels() != spoilt.labels()
    in_slice = _column(clean, "payment") == clean.values("payment")[0]
    np.testing.assert_array_equal(turned, in_slice)
    np.testing.assert_array_equal(clean.labels("2019-11"), spoilt.labels("2019-11"))


def test_poison_makes_a_slice_of_the_training_spans_positive(make_scene: Any) -> None:
    spoilt = _spoil(make_scene(), "poisoned-slice")
    payment = spoilt.query("SELECT payment FROM rows", "2019-10").column("payment").to_numpy()
    value = spoilt.values("payment")[0]
    assert spoilt.labels("2019-10")[payment == value].all()
    assert not spoilt.labels()[_column(spoilt, "payment") == value].all()


def test_ids_keep_their_frequencies_but_not_their_rows(make_scene: Callable[..., Any]) -> None:
    clean, spoilt = (
        _column(make_scene(), "place"),
        _column(_spoil(make_scene(), "ids-reassigned"), "place"),
    )
    assert sorted(np.unique(clean, return_counts=True)[1]) == sorted(
        np.unique(spoilt, return_counts=True)[1]
    )
    assert (clean != spoilt).mean() > 0.8


@pytest.mark.parametrize(
    "name, sections, needs",
    [
        ("wrong-year", {"data": {"path": "data", "pattern": "x"}}, "data.time_column"),
        ("ids-reassigned", {"features": {"fare": {"kind": "numeric"}}}, "high_cardinality"),
        ("mojibake", {"features": {"fare": {"kind": "numeric"}}}, "categorical"),
        ("clock-shifted", {"features": {"fare": {"kind": "numeric"}}}, "timestamp"),
        (
            "labels-flipped-in-slice",
            {"label": {"expression": "fare > 10"}},
            "a label made of columns",
        ),
    ],
)
def test_a_fault_says_what_the_data_would_need(
    name: str, sections: dict[str, Any], needs: str, make_scene: Callable[..., Any]
) -> None:
    sections.setdefault("data", {"path": "data", "pattern": "{span:%Y-%m}.*"})
    with pytest.raises(NotApplicableError, match=needs):
        _spoil(make_scene(**sections), name)


def test_a_sample_is_the_same_each_time_and_leaves_the_data_alone(
    scene: Any, tmp_path: Path
) -> None:
    before = _files(scene)
    shops = [
        workshop.set_up(scene.config, tmp_path / name, span="2019-12", train_spans=5, rows=100)
        for name in ("one", "two")
    ]
    assert shops[0].labels == ("2019-09", "2019-10", "2019-11", "2019-12")
    sampled = [_files(shop.scene("control", shop.root / "data", shop.labels)) for shop in shops]
    assert sampled[0] == sampled[1] and _files(scene) == before
    assert len(shops[0].champion().spans) == 3
    assert not (shops[0].root / "earlier" / "2019-12.parquet").exists()


def test_a_table_without_spans_gives_the_champion_other_rows(
    make_config: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    rows = "\n".join(f"{i},{i % 2}" for i in range(1000))
    (tmp_path / "data" / "all.csv").write_text(f"amount,churned\n{rows}\n")
    config = make_config(
        data={"path": "data", "pattern": "all.csv"},
        label={"expression": "churned = 1"},
        features={"amount": {"kind": "numeric"}},
        quarantine={},
    )
    shop = workshop.set_up(config, tmp_path / "shop", span=None, train_spans=4, rows=300)
    earlier, now = (
        set(_column(shop.scene("x", shop.root / folder, shop.labels), "amount"))
        for folder in ("earlier", "data")
    )
    assert len(earlier) == len(now) == 300 and not earlier & now


def test_two_spans_are_too_few(make_scene: Callable[..., Any], tmp_path: Path) -> None:
    from pipeline.errors import DataError

    scene = make_scene()
    for span in ("2019-09", "2019-10"):
        scene.file(span).unlink()
    with pytest.raises(DataError, match="needs three spans"):
        workshop.set_up(scene.config, tmp_path / "shop", span=None, train_spans=4, rows=100)


def test_no_champion_is_told_in_words_that_another_process_can_send(
    scene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pickle

    from pipeline.audit import worker
    from pipeline.errors import ConfigError, Fault, RunError

    def run(*arguments: Any, **settings: Any) -> None:
        raise ConfigError("trips.toml", [Fault("label.expression", "", "names no column", "Mend.")])

    shop = workshop.set_up(scene.config, tmp_path / "shop", span="2019-12", train_spans=5, rows=100)
    (shop.root / "champion" / "schema.pbtxt").touch()
    monkeypatch.setattr(worker.local, "run", run)
    with pytest.raises(RunError, match=r"no champion: trips\.toml") as caught:
        worker.make_champion(shop)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
