"""The page of a run: what it says, that it says what the artifacts say, and what it never does."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import html_reader
import pytest
from html_reader import Page
from run_files import drift, ingested, metrics, proof

from pipeline.local.places import Places
from pipeline.local.result import RunResult
from pipeline.report import drift_view, page, write
from pipeline.report.evidence import collect

SECTIONS = ["Data in", "Schema findings", "Drift", "Skew", "History", "Model", "Server"]
SECTIONS += ["Push", "Lineage"]


def rendered(result: RunResult, places: Places) -> Page:
    return html_reader.read(page.render(collect(result, places)))


def numbers_in(value: Any) -> set[float]:
    """All numbers of a JSON value."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return set()
    if isinstance(value, int | float):
        return {float(value)}
    items = value.values() if isinstance(value, dict) else value
    return set().union(*(numbers_in(item) for item in items))


# --- what it says ------------------------------------------------------------------------


def test_the_sections_stand_in_the_order_a_reader_needs(runs: Any) -> None:
    read = rendered(runs.add(), runs.places)
    second = [text for level, text in read.headings if level == 2]
    assert second == SECTIONS
    assert [text for level, text in read.headings if level == 1] == [
        "✔ Pushed as version 4 of trips."
    ]


@pytest.mark.parametrize(
    "status, values, headline",
    [
        (
            "up_to_date",
            {"message": "the model is identical to version 3", "model_version": 3},
            "✔ Nothing new to push: the model is identical to version 3.",
        ),
        (
            "failed",
            {"message": "the disk is full\nmore", "states": {"Trainer": "failed"}},
            "! Failed at Trainer: the disk is full",
        ),
        (
            "not_blessed",
            {},
            "✘ Not blessed because auc over all rows is 0.7000 (must be ≥ 0.7500). "
            "Nothing was pushed.",
        ),
        (
            "blocked",
            {},
            "✘ Blocked by the data gate: payment_type has drifted and fare breaks the schema. "
            "Nothing was trained.",
        ),
    ],
)
def test_the_headline_says_what_became_of_it(
    runs: Any, artifacts: Any, make_finding: Any, status: str, values: Any, headline: str
) -> None:
    evaluated = artifacts["Evaluator", "evaluation"]["metrics.json"]
    verdict = artifacts["DataGate", "verdict"]["verdict.json"]
    if status == "not_blessed":
        evaluated["blessed"] = False
        check = next(c for c in evaluated["checks"] if c["slice"] == "overall")
        check |= {"passed": False, "message": "auc over all rows is 0.7000 (must be ≥ 0.7500)"}
    if status == "blocked":
        verdict["passed"] = False
        verdict["findings"] = [
            make_finding("drift", "payment_type", "block"),
            make_finding("anomaly", "fare", "block"),
            make_finding("drift", "hour", "warn"),
        ]
    read = rendered(runs.add(status, files=artifacts, **values), runs.places)
    assert read.headings[0] == (1, headline)


def test_a_run_that_failed_first_says_so(runs: Any) -> None:
    read = rendered(runs.add("failed", files={}, message="no room", rows={}), runs.places)
    assert read.headings[0] == (1, "! Failed before the first component: no room")
    assert "No component has run." in read.text


def test_what_a_person_should_know_stands_at_the_top(runs: Any, artifacts: Any) -> None:
    notes = ["the champion <b>1</b> was restored from version 3"]
    read = rendered(runs.add("pushed", files=artifacts, notes=notes), runs.places)
    note = "Note: the champion <b>1</b> was restored from version 3"
    assert note in read.text
    assert read.text.index(note) < read.text.index("Data in")


def test_every_number_of_the_artifacts_is_on_the_page_with_all_its_digits(runs: Any) -> None:
    read = rendered(runs.add(), runs.places)
    told = metrics()
    overall = [models["overall"] for models in told["models"].values()]
    assert read.values >= numbers_in([{k: m[k] for k in m} for m in overall])
    assert read.values >= {
        check["bound"] for check in told["checks"] if check["slice"] == "overall"
    }
    assert read.values >= {check["value"] for check in told["checks"] if check["value"]} - {
        check["value"] for check in told["checks"] if check["slice"] != "overall"
    }
    for comparison in drift()["comparisons"]:
        for feature in comparison["features"]:
            assert read.values >= numbers_in(feature["measures"])
            assert read.values >= numbers_in(feature["worst_bin"])
            listed = feature["bins"][: drift_view.MAX_LISTED]
            assert read.values >= numbers_in([[b["reference"], b["current"]] for b in listed])
    for past in drift()["history"]:
        assert read.values >= numbers_in([past["rows"], past["label_rate"], past["excess"]])
    rows = ingested()
    assert read.values >= numbers_in(rows["rows"])
    assert read.values >= numbers_in(
        [[s["kept"], s["quarantined"]] for s in rows["spans"].values()]
    )
    assert read.values >= numbers_in(
        [f["figures"] for f in proof()["findings"] if f["check"] == "latency grpc"]
    )


def test_what_is_shown_is_the_number_rounded(runs: Any) -> None:
    read = rendered(runs.add(), runs.places)
    assert len(read.numbers) > 300
    for value, shown in read.numbers:
        scale = 100 if "%" in shown else 1
        if shown.startswith("<"):
            continue
        text = re.sub(r"[,%×\s]", "", shown).replace("−", "-")
        digits = len(text.partition(".")[2]) if "e" not in text else 6
        assert float(text) == pytest.approx(value * scale, abs=0.5001 * 10**-digits), shown


def test_quarantined_rows_are_shown_by_rule_with_a_sample(runs: Any) -> None:
    read = rendered(runs.add(), runs.places)
    for shown in ("negative_fare", "fare_amount < 0", "outside its span", "built in", "row 740"):
        assert shown in read.text
    assert {138.0, 3.0, 141.0} <= read.values
    # What the rule looks at comes first, and a missing value is told as such.
    assert re.search(r"row 740 fare_amount -2.5 vendor_id 2 note missing", read.text)


def test_findings_stand_with_their_policy(runs: Any, artifacts: Any, make_finding: Any) -> None:
    artifacts["DataGate", "verdict"]["verdict.json"]["findings"] = [
        make_finding("anomaly", "fare", "block"),
        make_finding("new_column", "tip_2", "warn"),
        make_finding(
            *("anomaly", "flag", "allowed"), allowed_until="2026-12-31", reason="known since May"
        ),
        make_finding("label", "label", "retrain"),
    ]
    read = rendered(runs.add(files=artifacts), runs.places)
    schema = read.text[read.text.index("Schema findings") : read.text.index("Drift The newest")]
    for shown in ("✘ blocks fare", "! warns tip_2", "✔ allowed until 2026-12-31 flag"):
        assert shown in schema
    assert "Allowed because: known since May" in schema
    assert "label" not in schema  # that is a comparison's
    assert "↻ retrains label" in read.text


def test_features_are_sorted_by_how_far_over_their_threshold(runs: Any, artifacts: Any) -> None:
    compared = artifacts["DistributionValidator", "drift"]["drift.json"]["comparisons"][0]
    compared["features"].reverse()
    compared["features"][0]["measures"][0]["known"] = True
    read = rendered(runs.add(files=artifacts), runs.places)
    names = [a["href"] for a in read.all("a") if a["href"].startswith("#drift-")]
    assert names == [f"#drift-{index + 1}" for index in range(len(compared["features"]))]
    order = sorted(compared["features"], key=lambda f: -(f["excess"] or 0))
    places = [read.text.index(f"{f['feature']} {f['type']}, ") for f in order]
    assert places == sorted(places)


def test_what_is_known_is_no_alarm(runs: Any, artifacts: Any) -> None:
    drift = artifacts["DistributionValidator", "drift"]["drift.json"]
    for feature in drift["comparisons"][0]["features"]:
        for measure in feature["measures"]:
            measure["known"] = True
    read = rendered(runs.add(files=artifacts), runs.places)
    assert "None of 11 features is over its threshold." in read.text
    assert "known" in read.text


def test_the_way_back_is_a_command_to_copy(runs: Any) -> None:
    for number in (2, 4):
        folder = runs.folder / "serving" / "trips" / str(number)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
    read = rendered(runs.add(config_file="/home/me/my trips.toml"), runs.places)
    assert "Going back to version 2" in read.text
    assert "headrace label stable 2 --config '/home/me/my trips.toml'" in read.text
    line = re.search(r"mv (\S+/4) (\S+/\.rolled-back-4)", read.text)
    assert line is not None
    Path(line[1]).rename(line[2])
    # What the command leaves is what a server takes for the newest.
    from serving.registry import Registry

    assert [v.number for v in Registry(str(runs.folder / "serving"), "trips").versions()] == [2]


def test_the_first_version_has_no_way_back(runs: Any) -> None:
    folder = runs.folder / "serving" / "trips" / "4"
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_bytes(b"")
    read = rendered(runs.add(), runs.places)
    assert "there is no version to go back to" in read.text
    assert "headrace label" not in read.text


def test_lineage_tells_digests_artifacts_and_times(runs: Any) -> None:
    made = {"code_sha256": "c0de" * 16, "git_revision": "abcdef1"}
    result = runs.add(provenance=made, states={"StatisticsGen": "cached"})
    evidence = collect(result, runs.places)
    read = html_reader.read(page.render(evidence))
    assert evidence.config is not None
    for shown in (evidence.config.digest(), "f1" * 32, "c0de" * 16, "abcdef1", "cached"):
        assert shown in read.text
    artifact = evidence.output("Evaluator", "evaluation")
    assert artifact is not None
    assert f"evaluation {artifact.id} {artifact.uri}" in read.text


# --- what is missing ---------------------------------------------------------------------


def test_any_part_may_be_missing(runs: Any, artifacts: Any) -> None:
    for index, left_out in enumerate(artifacts):
        files = {key: value for key, value in artifacts.items() if key != left_out}
        result = runs.add(run_id=f"20260401-12000{index}-abcd", files=files)
        read = rendered(result, runs.places)
        assert [text for level, text in read.headings if level == 2] == SECTIONS, left_out
        assert not read.unclosed


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"comparisons": 3, "passed": []}'])
def test_what_cannot_be_read_is_told_and_the_rest_is_shown(
    runs: Any, artifacts: Any, content: str
) -> None:
    for (node, key), files in artifacts.items():
        if node != "SpanExampleGen":
            artifacts[node, key] = dict.fromkeys(files, content)
    read = rendered(runs.add(files=artifacts), runs.places)
    told = [text for level, text in read.headings if text == "Not on this page"]
    assert told
    assert "verdict.json cannot be read" in read.text
    assert {19_917.0, 9_942.0} <= read.values


def test_a_damaged_metadata_store_and_configuration_leave_a_page(runs: Any) -> None:
    result = runs.add()
    Path(runs.places.metadata).write_bytes(b"nonsense" * 100)
    Path(runs.places.run(result.run_id, "config.json")).write_text('{"name": 3}')
    read = rendered(result, runs.places)
    assert read.headings[0] == (1, "✔ Pushed as version 4.")
    assert "metadata.db cannot be read" in read.text
    assert "config.json cannot be read" in read.text


# --- what comes from data ----------------------------------------------------------------

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style><script>alert(1)</script>",
    "{{ 7 * 7 }} {% raw %}",
    "<!-- <b>&amp;lt;",
    "x" * 5000,
    "\u202egnp.exe\u202c \u2066abc\u2069",
    "مرحبا بالعالم",
    "👩‍👩‍👧‍👦 emoji",
    "\x00\x07\x1b[31m\x7f\x85",
    "line\nbreak\ttab",
    "javascript:alert(1)",
    "lone \udcff surrogate",
]
TAGS = set(
    "html head meta title link style body a header main footer nav p h1 h2 h3 span bdi dl div dt "
    "dd ul li table caption thead tbody tr th td data details summary figure figcaption code pre "
    "br strong svg g text line rect circle desc".split()
)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_from_data_is_only_text(
    runs: Any, artifacts: Any, make_finding: Any, text: str
) -> None:
    drift = artifacts["DistributionValidator", "drift"]["drift.json"]
    for comparison in drift["comparisons"]:
        comparison["reference"]["label"] = comparison["current"]["label"] = text
        for feature in comparison["features"]:
            feature["feature"] = feature["type"] = text
            for one in [*feature["bins"], feature["worst_bin"]]:
                one["label"] = text
            for measure in feature["measures"]:
                measure["name"] = text
    for past in drift["history"]:
        past["span"] = text
        past["excess"] = {text: 2.0}
    drift["notes"] = [text]
    drift["calibration"] = dict.fromkeys(("date", "false_alarms", "correction"), text) | {
        "spans": [text],
        "detectable": {text: text},
    }
    rows = artifacts["SpanExampleGen", "examples"]["ingest.json"]
    rows["spans"] = {
        text: {
            "kept": 5,
            "quarantined": 5,
            "reasons": {text: 5},
            "samples": {text: f"{text}, row 1: {json.dumps({text: text})}"},
        }
    }
    artifacts["DataGate", "verdict"]["verdict.json"]["findings"] = [
        make_finding(*(kind, text, text), message=text, split=text, reason=text, allowed_until=text)
        for kind in ("anomaly", "drift", "skew", "splits", text)
    ]
    evaluated = artifacts["Evaluator", "evaluation"]["metrics.json"]
    for models in evaluated["models"].values():
        models[text] = models["payment_type=1"]
    artifacts["InfraValidator", "blessing"]["proof.json"]["findings"].append(
        {"check": text, "passed": False, "message": text, "figures": {}}
    )
    result = runs.add(
        "failed",
        files=artifacts,
        span=text,
        message=text,
        log=text,
        provenance={"git_revision": text, "code_sha256": text},
        window={"train": [text], "eval": []},
    )
    path = Path(write.run_page(result, runs.places))
    html = path.read_text(encoding="utf-8")
    read = html_reader.read(html)
    assert {tag for tag, _ in read.tags} <= TAGS
    assert not read.unclosed
    for tag, attributes in read.tags:
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
        # Nothing from data names a place to go to, or to load from.
        for name in ("href", "src"):
            assert re.fullmatch(
                r"#[a-z0-9-]+|\.\./\.\./index\.html|data:,|", attributes.get(name, "")
            )
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", html)
    assert len(html) < 1_000_000
    if len(text) < 60 and text.isprintable() and "  " not in text:
        assert text in read.text


# --- how large it may become -------------------------------------------------------------


def test_hundreds_of_features_and_thousands_of_categories_stay_a_page(
    runs: Any, artifacts: Any
) -> None:
    drift = artifacts["DistributionValidator", "drift"]["drift.json"]
    bins = [
        {"label": f"category {index} {'long ' * 40}", "reference": index, "current": 2000 - index}
        for index in range(2000)
    ]
    worst = bins[1777] | {"reference_share": 0.1, "current_share": 0.2}
    features = [
        {
            "feature": f"feature_{index}_{'x' * 200}",
            "type": ("categorical", "numeric")[index % 2],
            "measures": [{"name": "l_infinity", "value": 0.5, "threshold": 0.1 + index}],
            "excess": 0.5 / (0.1 + index),
            "bins": bins if index < 60 else bins[:3],
            "worst_bin": worst,
        }
        for index in range(600)
    ]
    drift["comparisons"] = [
        {
            "kind": kind,
            "reference": {"label": "then", "rows": 10, "sampled": 10},
            "current": {"label": "now", "rows": 10, "sampled": 10},
            "features": features,
        }
        for kind in ("drift", "skew", "splits")
    ]
    drift["history"] = [
        {
            "span": f"span {index}",
            "rows": 1000,
            "label_rate": 0.5,
            "excess": {feature["feature"]: 0.5 for feature in features},
        }
        for index in range(120)
    ]
    spans = artifacts["SpanExampleGen", "examples"]["ingest.json"]["spans"]
    spans |= {f"span {index}": spans["2020-02"] for index in range(900)}
    evaluated = artifacts["Evaluator", "evaluation"]["metrics.json"]
    for models in evaluated["models"].values():
        models |= {f"zone={index}": models["payment_type=1"] for index in range(3000)}
    result = runs.add(files=artifacts)
    path = Path(write.run_page(result, runs.places))
    assert path.stat().st_size < 2_000_000
    read = html_reader.read(path.read_text())
    assert not read.unclosed
    left = 600 - drift_view.MAX_ROWS["drift"]
    assert f"{left} more features nearer to the reference" in read.text
    assert f"{2000 - drift_view.MAX_LISTED:,} more bins left out" in read.text
    assert "category 1777" in read.text  # the worst bin is never folded away
    assert "more slices in the evaluation’s file" in read.text


# --- how it is made ----------------------------------------------------------------------


def test_the_page_needs_nothing_but_itself(runs: Any) -> None:
    html = page.render(collect(runs.add(), runs.places))
    assert not re.search(r"https?://|@import|url\(|<script", html)
    read = html_reader.read(html)
    (policy,) = [
        meta["content"]
        for meta in read.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none';")


def test_it_can_be_read_without_seeing_it(runs: Any) -> None:
    read = rendered(runs.add(), runs.places)
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for svg in read.all("svg"):
        if svg.get("aria-hidden") != "true":
            assert svg["role"] == "img"
            assert svg.get("aria-label") or set(svg["aria-labelledby"].split()) <= set(ids)
    tables = len(read.all("table"))
    assert tables == len(read.all("caption")) > 10
    assert all(th["scope"] in ("col", "row") for th in read.all("th"))
    assert all(
        "tabindex" in div and div["aria-label"]
        for div in read.all("div")
        if div.get("class") == "scroll"
    )
    levels = [level for level, _ in read.headings]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    assert {"main", "header", "footer", "nav"} <= {tag for tag, _ in read.tags}
    targets = [a["href"][1:] for a in read.all("a") if a["href"].startswith("#")]
    assert "content" in targets and set(targets) <= set(ids)


def test_written_anew_it_is_the_same(runs: Any) -> None:
    result = runs.add()
    first = Path(write.run_page(result, runs.places)).read_bytes()
    Path(runs.places.report(result.run_id)).unlink()
    assert Path(write.run_page(result, runs.places)).read_bytes() == first
