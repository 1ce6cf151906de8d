"""Data that is not trips, by configuration alone: another table, another label, no spans."""

from __future__ import annotations

from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_HEAD = """
name = "cancer"
output = "out"
[data]
path = "data"
pattern = "tumours.csv.gz"
schema_file = "schema.pbtxt"
[label]
expression = "diagnosis = 'malignant'"
[evaluation]
bars = { auc_min = 0.9, log_loss_max = 0.5, calibration_max = 0.3 }
[serving]
path = "serving"
[training]
batch_size = 64
epochs = 30
"""


def test_a_single_table_with_names_to_mend_and_gaps(bare_project) -> None:
    tmp_path: Path = bare_project.path
    frame = load_breast_cancer(as_frame=True).frame
    frame["diagnosis"] = frame.pop("target").map({0: "malignant", 1: "benign"})
    frame["ward"] = (["north", "süd, east", None] * len(frame))[: len(frame)]
    frame.loc[::7, "mean area"] = None
    (tmp_path / "data").mkdir()
    frame.to_csv(tmp_path / "data" / "tumours.csv.gz", sep=";", index=False)
    measured = [name for name in frame.columns if name not in ("diagnosis", "ward")]
    features = "\n".join(f'"{name}" = {{ kind = "numeric" }}' for name in measured)
    config = f"{_HEAD}\n[features]\nward = {{ kind = 'categorical' }}\n"
    config += "diagnosis = { kind = 'ignore' }\n"
    (tmp_path / "headrace.toml").write_text(f"{config}{features}\n")

    refused = bare_project.run()
    assert refused.code == 2
    message = refused.result["message"]
    assert "features.mean area: may hold only letters" in message
    assert """'mean area' = "mean_area" to [data.rename]""" in message

    renamed = {name: name.replace(" ", "_") for name in measured}
    rename = "\n".join(f'"{old}" = "{new}"' for old, new in renamed.items())
    features = "\n".join(f'{name} = {{ kind = "numeric" }}' for name in renamed.values())
    (tmp_path / "headrace.toml").write_text(f"{config}{features}\n[data.rename]\n{rename}\n")
    pushed = bare_project.run()
    assert pushed.code == 0, pushed.out + pushed.err
    result = pushed.result
    assert result["status"] == "pushed" and result["metrics"]["auc"] > 0.9
    assert result["rows"]["train"] + result["rows"]["eval"] == len(frame)
    assert 60 < result["rows"]["eval"] < 170
    again = bare_project.run()
    assert again.result["status"] == "up_to_date"

    # A hand removes the database of what was made: the folders of before are not written into,
    # and what serves is the champion.
    (tmp_path / "out" / "metadata.db").unlink()
    toml = tmp_path / "headrace.toml"
    toml.write_text(toml.read_text().replace("epochs = 30", "epochs = 31"))
    anew = bare_project.run().result
    assert anew["rows"] == result["rows"]
    assert "does not know run" in anew["notes"][0] and "version 1" in anew["notes"][0]
    assert anew["champion_metrics"] == pytest.approx(result["metrics"])
