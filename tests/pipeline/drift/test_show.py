"""`headrace drift show`: what alarms, by what, and what the policies make of it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from click.testing import CliRunner

from pipeline import schema_file
from pipeline.cli.drift import drift
from pipeline.drift.measures import RANGES

CONFIG = """
name = "shop"
[data]
path = "{data}"
pattern = "{{span:%Y-%m}}.csv"
[window]
train_spans = 8
[label]
expression = "bought = 1"
[features]
price = {{ kind = "numeric" }}
plan = {{ kind = "categorical" }}
[gates]
drift = "block"
[[gates.allow]]
kind = "drift"
feature = "plan"
until = 2999-01-01
reason = "a new tariff"
"""


def shop(folder: Path, spans: int, *, spoilt: bool) -> str:
    """A configuration of made-up months, the last of them spoilt or not."""
    random = np.random.default_rng(1)
    data = folder / "data"
    data.mkdir()
    for number in range(1, spans + 1):
        factor = 100 if spoilt and number == spans else 1
        plans = ["a", "b"] if factor == 1 else ["a", "c"]
        lines = [
            f"{factor * price:.2f},{plan},{int(bought)}"
            for price, plan, bought in zip(
                random.lognormal(size=400),
                random.choice(plans, 400),
                random.random(400) < 0.4,
                strict=True,
            )
        ]
        text = "\n".join(["price,plan,bought", *lines, ""])
        (data / f"2024-{number:02d}.csv").write_text(text)
    config = folder / "shop.toml"
    config.write_text(CONFIG.format(data=data))
    return str(config)


def show(*arguments: str) -> tuple[int, Any]:
    done = CliRunner().invoke(drift, ["show", "--json", *arguments], catch_exceptions=False)
    return done.exit_code, json.loads(done.stdout)


COUNTED = """
name = "shop"
[data]
path = "{data}"
pattern = "{{span:%Y-%m}}.csv"
schema_file = "schema.pbtxt"
[label]
expression = "bought = 1"
[features]
day = {{ kind = "numeric" }}
period = {{ kind = "categorical" }}
price = {{ kind = "numeric" }}
"""


def test_calibrate_names_what_trends_and_what_no_threshold_can_judge(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    for number in range(1, 10):
        rows = zip(
            31 * number + random.integers(0, 31, 300),
            random.lognormal(size=300),
            random.random(300) < 0.4,
            strict=True,
        )
        lines = [
            f"{day},2024-{number:02d},{price:.2f},{int(bought)}" for day, price, bought in rows
        ]
        text = "\n".join(["day,period,price,bought", *lines, ""])
        (tmp_path / f"2024-{number:02d}.csv").write_text(text)
    (tmp_path / "shop.toml").write_text(COUNTED.format(data=tmp_path))
    (tmp_path / "schema.pbtxt").write_text(
        'feature { name: "day" type: FLOAT }\n'
        'feature { name: "period" type: BYTES\n'
        "  drift_comparator { infinity_norm { threshold: 4.17 } } }\n"
    )
    config = str(tmp_path / "shop.toml")
    done = CliRunner().invoke(drift, ["calibrate", "--config", config], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "day trends, by +31 a span: compared at the newest span's level" in done.output
    assert "period: differ from span to span as far as a distance can tell" in done.output
    written = json.loads((tmp_path / "drift.json").read_text())
    for bounds in written["thresholds"].values():
        assert all(bound < RANGES.get(name, np.inf) for name, bound in bounds.items())
    contract = schema_file.thresholds(schema_file.read(str(tmp_path / "schema.pbtxt")))
    assert set(contract) == {"day"}
    assert contract["day"]["jensen_shannon"] < 1
    code, told = show("--config", config)
    assert (code, told["alarms"]) == (0, [])


def test_json_says_what_alarms_by_what_and_what_follows(tmp_path: Path) -> None:
    code, told = show("--config", shop(tmp_path, 9, spoilt=True))
    assert code == 0
    assert told["alarming"] is True
    assert told["passed"] is False
    price, plan = told["alarms"]
    assert (price["feature"], price["kind"], price["policy"]) == ("price", "drift", "block")
    assert price["measure"] in ("kolmogorov_smirnov", "jensen_shannon", "psi")
    assert price["value"] > price["threshold"] > 0
    assert (plan["feature"], plan["policy"], plan["reason"]) == ("plan", "allowed", "a new tariff")
    features = {one["feature"]: one for one in told["features"]}
    assert {name: one["alarms"] for name, one in features.items()} == {
        "price": True,
        "plan": True,
        "label": False,
    }
    assert {name: one["policy"] for name, one in features.items()} == {
        "price": "block",
        "plan": "allowed",
        "label": None,
    }
    shifted = {one["name"]: one["alarms"] for one in features["price"]["measures"]}
    assert shifted["kolmogorov_smirnov"] and not shifted["missing_rate"]
    assert "8 spans" in told["notes"][0]


def test_a_quiet_span_alarms_nothing_and_the_exit_code_says_so_if_asked(tmp_path: Path) -> None:
    (tmp_path / "quiet").mkdir()
    (tmp_path / "spoilt").mkdir()
    quiet = shop(tmp_path / "quiet", 9, spoilt=False)
    code, told = show("--exit-code", "--config", quiet)
    assert (code, told["alarming"], told["passed"], told["alarms"]) == (0, False, True, [])
    code, told = show("--exit-code", "--config", shop(tmp_path / "spoilt", 9, spoilt=True))
    assert (code, told["alarming"]) == (5, True)


def test_a_short_window_says_once_that_nothing_is_calibrated(tmp_path: Path) -> None:
    code, told = show("--config", shop(tmp_path, 4, spoilt=False))
    assert code == 0
    assert told["alarms"] == []
    assert [note for note in told["notes"] if "not calibrated yet" in note] == told["notes"][:1]
    assert "headrace drift calibrate --spans FIRST:LAST" in told["notes"][0]
