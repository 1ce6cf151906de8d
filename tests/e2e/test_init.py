"""A stranger's table, from `headrace init` to a pushed model, without an edit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_a_table_that_nobody_has_seen(bare_project) -> None:
    folder: Path = bare_project.path
    frame = load_breast_cancer(as_frame=True).frame
    frame["diagnosis"] = frame.pop("target").map({0: "malignant", 1: "benign"})
    frame["note id"] = [f"n{i}" for i in range(len(frame))]
    frame["mean area"] = frame["mean area"].astype(object)
    frame.loc[[5, 9], "mean area"] = ["smudge", "torn"]
    frame.to_csv(folder / "tumours.csv.gz", sep=";", index=False)

    asked = bare_project.headrace("init", "--data", "tumours.csv.gz")
    assert asked.code == 2 and "--label" in asked.err
    assert not (folder / "headrace.toml").exists()
    label = ("--label", "diagnosis = 'malignant'")
    made = bare_project.headrace("init", "--data", "tumours.csv.gz", *label)
    assert made.code == 0, made.err
    assert "next: headrace run" in made.out
    written = (folder / "headrace.toml").read_text()
    assert '"mean radius" = "mean_radius"' in written and 'note_id = { kind = "ignore" }' in written
    assert (folder / "schema" / "schema.pbtxt").exists()

    again = bare_project.headrace("init", "--data", "tumours.csv.gz", *label)
    assert again.code == 2 and "already there, and not overwritten" in again.err
    assert (folder / "headrace.toml").read_text() == written

    pushed = bare_project.run()
    assert pushed.code == 0, pushed.out + pushed.err
    assert pushed.result["status"] == "pushed" and pushed.result["metrics"]["auc"] > 0.95

    shown = bare_project.headrace("quarantine", "show")
    assert shown.code == 0 and "2 rows refused" in shown.out
    assert "tumours.csv.gz, row 6" in shown.out and "smudge" in shown.out
    shown = bare_project.headrace("quarantine", "show", "--json", "--limit", "1")
    told = json.loads(shown.out)
    assert told["reasons"] == {"type: mean_area is not float": 2} and len(told["rows"]) == 1
    for wrong in (("nowhen",), ("--reason", "nothing")):
        refused = bare_project.headrace("quarantine", "show", *wrong)
        assert refused.code == 1 and "Traceback" not in refused.err and wrong[-1] in refused.err

    differs = bare_project.headrace("schema", "diff")
    assert differs.code == 5, differs.err
    assert "2 of 569 rows hold values that are no numbers" in differs.out
