"""Small parts of a local run: its result, its history, its places, its silence, its code."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import files, provenance, run_plan
from pipeline.local import history, quiet
from pipeline.local.places import Places
from pipeline.local.result import EXIT_CODES, RunResult, Status


def kept(places: Places, run_id: str, content: str | None) -> None:
    """A run's folder with what its result file holds."""
    os.makedirs(places.run(run_id))
    if content is not None:
        Path(places.run(run_id, "result.json")).write_text(content)


# --- results -----------------------------------------------------------------------------


def test_every_status_has_its_exit_code() -> None:
    assert set(EXIT_CODES) == set(get_args(Status))
    assert [status for status, code in EXIT_CODES.items() if code == 0] == ["pushed", "up_to_date"]
    assert (EXIT_CODES["failed"], EXIT_CODES["blocked"], EXIT_CODES["not_blessed"]) == (1, 3, 4)


@given(
    st.builds(
        RunResult,
        status=st.sampled_from(get_args(Status)),
        run_id=st.text(),
        span=st.text(),
        window=st.dictionaries(st.text(), st.lists(st.text()), max_size=3),
        model_version=st.none() | st.integers(0),
        metrics=st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=3),
        rows=st.dictionaries(st.text(), st.integers(0), max_size=3),
        message=st.text(),
    )
)
def test_a_result_survives_its_file_on_one_line(result: RunResult) -> None:
    text = result.to_json()
    assert "\n" not in text
    assert RunResult.from_json(text) == result


def test_keys_of_a_later_version_are_passed_over() -> None:
    text = json.dumps({"status": "pushed", "run_id": "a", "colour": "blue"})
    assert RunResult.from_json(text) == RunResult("pushed", "a")


# --- history -----------------------------------------------------------------------------


def test_without_an_output_folder_there_are_no_runs(tmp_path: Path) -> None:
    assert history.runs(Places(str(tmp_path / "runs"))) == []


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    for run_id in ("20191202-080000-aaaa", "20200101-080000-0000", "20191201-080000-ffff"):
        kept(places, run_id, RunResult("pushed", run_id).to_json())
    assert [result.run_id for result in history.runs(places)] == [
        *("20200101-080000-0000", "20191202-080000-aaaa", "20191201-080000-ffff")
    ]


@pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"status": "pushed"}'])
def test_a_run_without_a_whole_result_is_listed_as_such(
    tmp_path: Path, content: str | None
) -> None:
    places = Places(str(tmp_path))
    kept(places, "20191201-080000-aaaa", content)
    kept(places, "20191202-080000-bbbb", RunResult("blocked", "20191202-080000-bbbb").to_json())
    whole, broken = history.runs(places)
    assert whole.status == "blocked"
    assert (broken.status, broken.run_id) == ("failed", "20191201-080000-aaaa")
    assert "killed, or still running" in broken.message
    assert broken.log == places.run("20191201-080000-aaaa", "run.log")


def test_places_are_below_the_output_folder(bench: Any) -> None:
    places = Places.of(bench.config(output="/srv/runs"))
    inside = [
        places.metadata,
        places.artifacts_of("a"),
        places.history,
        places.lock,
        places.run("a", "b"),
    ]
    assert all(path.startswith("/srv/runs/") for path in inside)
    assert len(set(inside)) == len(inside)
    assert places.run("a", "b") == "/srv/runs/history/a/b"


# --- silence -----------------------------------------------------------------------------


NOISE = """
import os, sys
from pipeline.local import quiet
print("before")
with quiet.output_to(sys.argv[1]) as terminal:
    print("python")
    print("warning", file=sys.stderr)
    os.write(1, b"C++ out\\n")
    os.write(2, b"C++ error\\n")
    os.system("echo child")
    terminal.write("progress\\n")
print("after")
"""


def test_noise_of_every_kind_goes_to_the_log_and_the_watcher_still_speaks(
    tmp_path: Path, root: Path
) -> None:
    log = tmp_path / "run.log"
    log.write_text("earlier\n")
    said = subprocess.run(
        [sys.executable, "-c", NOISE, log], capture_output=True, text=True, cwd=root, check=True
    )
    assert said.stdout == "before\nafter\n"
    assert said.stderr == "progress\n"
    written = log.read_text().splitlines()
    assert written[0] == "earlier"
    assert sorted(written[1:]) == ["C++ error", "C++ out", "child", "python", "warning"]


def test_an_error_gives_the_terminal_back(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyError), quiet.output_to(str(tmp_path / "log")):
        raise KeyError
    os.write(1, b"back\n")
    assert capfd.readouterr().out == "back\n"
    assert len(os.listdir("/proc/self/fd")) == before


# --- files -------------------------------------------------------------------------------


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = str(tmp_path / "a.json")
    files.write_atomically(path, b"first")
    files.write_atomically(path, b"second")
    assert Path(path).read_bytes() == b"second"
    os.mkdir(f"{path}.partial")  # writing cannot begin
    with pytest.raises(OSError, match="Is a directory"):
        files.write_atomically(path, b"third")
    assert Path(path).read_bytes() == b"second"


def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    digest = files.sha256(str(tmp_path / "a"))
    assert digest == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", ["plain", "with [brackets]", "with * and ?"])
def test_an_escaped_path_matches_itself_alone(tmp_path: Path, name: str) -> None:
    for folder in (name, "with b", "with x and y"):
        (tmp_path / folder).mkdir(exist_ok=True)
    path = str(tmp_path / name)
    assert files.glob(files.escape(path)) == [path]
    assert files.exists(path)
    assert files.is_dir(path)


# --- code --------------------------------------------------------------------------------


def test_an_edit_changes_the_digest_of_its_part_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("models/a.py", "models/deep/b.py", "models/notes.md", "pipeline/sql.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def digests() -> tuple[str, str]:
        return provenance.code_digest("models"), provenance.code_digest("pipeline/sql.py")

    before = digests()
    assert digests() == before
    (tmp_path / "models" / "notes.md").write_text("no code")
    assert digests() == before
    (tmp_path / "models" / "deep" / "b.py").write_text("edited")
    edited = digests()
    assert edited[0] != before[0]
    assert edited[1] == before[1]
    (tmp_path / "models" / "deep" / "b.py").rename(tmp_path / "models" / "deep" / "c.py")
    assert digests()[0] not in (before[0], edited[0])


def test_a_library_of_another_version_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = provenance.code_digest("models")
    monkeypatch.setattr(provenance.metadata, "version", lambda name: f"{name} 99")
    assert provenance.code_digest("models") != before


def test_the_revision_says_whether_the_tree_is_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.git_revision() == ""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    (tmp_path / "a.py").write_text("1")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "a")):
        provenance._git(*command)
    revision = provenance.git_revision()
    assert len(revision) == 40
    (tmp_path / "a.py").write_text("2")
    assert provenance.git_revision() == f"{revision}+dirty"
    monkeypatch.setenv("PATH", "")
    assert provenance.git_revision() == ""


def test_a_plan_carries_the_digests_and_where_it_comes_from(bench: Any) -> None:
    config = bench.config()
    plan = run_plan.plan_run(config, span="2019-12", root="/artifacts")
    assert set(plan.code) == {"ingest", "schema", "drift", "gate", "models", "judge", "proof"}
    assert len(set(plan.code.values())) == 7
    assert plan.provenance["config_sha256"] == config.digest()
    assert dataclasses.replace(plan, metadata=object()) == plan


# --- what is named to a person -----------------------------------------------------------


@pytest.mark.parametrize(
    "config_file, option",
    [("", ""), ("headrace.toml", ""), ("a b/c.toml", " --config 'a b/c.toml'")],
)
def test_commands_that_settle_a_finding_name_the_configuration(
    config_file: str, option: str
) -> None:
    from pipeline.local import run as local

    finding = {"message": "nothing is checked of it: `headrace schema accept x`"}
    result = RunResult("blocked", "run", message="`headrace schema diff` shows", gates={})
    result.gates["data"] = {"findings": [finding]}
    local._name_config(result, config_file)
    assert result.message == f"`headrace schema diff{option}` shows"
    assert finding["message"].endswith(f"`headrace schema accept x{option}`")


def test_a_blocked_run_says_what_changes_the_schema() -> None:
    from pipeline.cli.run import following
    from pipeline.local import outcome

    anomaly = {"kind": "anomaly", "feature": "x", "split": "train", "message": "low"}
    told = list(outcome._hint([anomaly]))
    assert len(told) == 1 and "`headrace schema accept`" in told[0]
    assert list(outcome._hint([{**anomaly, "kind": "rows"}])) == []
    result = RunResult("blocked", "run")
    result.gates["data"] = {"findings": [{**anomaly, "policy": "block"}]}
    assert following(result, "other.toml") == "headrace schema diff --config other.toml"
