"""What is found to be wrong before anything heavy is loaded."""

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Config
from pipeline.errors import DataError, HeadraceError, RunError
from pipeline.local import preflight
from pipeline.local.places import Places

ENOUGH = preflight.MIN_FREE_BYTES


# --- the output folder -------------------------------------------------------------------


def test_the_output_folder_is_made_and_left_clean(tmp_path: Path) -> None:
    places = Places(str(tmp_path / "runs"))
    preflight.check_output(places, free_bytes=lambda path: ENOUGH)
    assert os.listdir(places.output) == ["history"]
    preflight.check_output(places, free_bytes=lambda path: ENOUGH)


def test_too_little_room_is_told_with_the_figures(tmp_path: Path) -> None:
    places = Places(str(tmp_path / "runs"))
    asked: list[str] = []

    def free_bytes(path: str) -> int:
        asked.append(path)
        return 12_000_000

    with pytest.raises(RunError, match="has 12 MB free; a run needs at least 210 MB") as caught:
        preflight.check_output(places, free_bytes)
    assert asked == [places.output]
    assert places.output in str(caught.value)
    assert "Free space, or set another output folder" in str(caught.value)


def test_a_file_where_the_output_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(RunError, match=r"output: cannot write to .*runs \(.*\)") as caught:
        preflight.check_output(Places(str(tmp_path / "runs")))
    assert "set another output folder" in str(caught.value)


READ_ONLY = """
import sys
from pipeline.errors import RunError
from pipeline.local import preflight
from pipeline.local.places import Places
try:
    preflight.check_output(Places(sys.argv[1]))
except RunError as error:
    print(error)
"""


@pytest.mark.parametrize("exists", [True, False])
def test_a_read_only_output_folder(tmp_path: Path, as_user: Any, exists: bool) -> None:
    folder = tmp_path / "disk"
    output = folder / "runs"
    (output / "history" if exists else folder).mkdir(parents=True)
    locked = output if exists else folder
    locked.chmod(0o555)
    said = as_user(READ_ONLY, output)
    locked.chmod(0o755)
    assert said.startswith(f"output: cannot write to {output} (Permission denied). ")
    assert "change its permissions" in said


# --- the metadata database ---------------------------------------------------------------


def database(path: str, rows: int = 2000) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE Artifact (id INTEGER PRIMARY KEY, uri TEXT)")
        connection.executemany(
            "INSERT INTO Artifact (uri) VALUES (?)", [(f"/artifacts/{n}",) for n in range(rows)]
        )
        connection.execute("CREATE INDEX by_uri ON Artifact (uri)")
    connection.close()


@pytest.mark.parametrize("name", ["runs", "100% of #runs?", "größe ;"])
def test_a_sound_database_passes_and_is_not_touched(tmp_path: Path, name: str) -> None:
    places = Places(str(tmp_path / name))
    os.makedirs(places.output)
    preflight.check_metadata(places)
    assert os.listdir(places.output) == []
    database(places.metadata)
    before = Path(places.metadata).read_bytes()
    preflight.check_metadata(places)
    assert Path(places.metadata).read_bytes() == before
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"no database at all, but long enough to look like one" * 10,
        lambda content: content[: len(content) // 2],
        lambda content: content[:8192] + b"\xa5" * 8192 + content[16384:],
        lambda content: b"\0" * 100 + content[100:],
    ],
    ids=["text", "truncated", "overwritten", "header"],
)
@pytest.mark.parametrize("name", ["runs", "100% of #runs?"])
def test_a_damaged_database(tmp_path: Path, damage: Any, name: str) -> None:
    places = Places(str(tmp_path / name))
    os.makedirs(places.output)
    database(places.metadata)
    content = Path(places.metadata).read_bytes()
    Path(places.metadata).write_bytes(damage(content))
    with pytest.raises(RunError) as caught:
        preflight.check_metadata(places)
    message = str(caught.value)
    assert message.startswith(f"{places.metadata}: the metadata database is damaged (")
    assert "Restore it from a backup, or move it away" in message


def test_a_folder_in_place_of_the_database(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    os.makedirs(places.metadata)
    with pytest.raises(RunError, match="the metadata database is damaged"):
        preflight.check_metadata(places)


# --- the data ----------------------------------------------------------------------------


def months(bench: Any, count: int, **columns: Any) -> list[Path]:
    """Files of good rows, one a month of 2019; every file differs."""
    return [
        bench.write_csv(f"data/2019-{n:02}.csv", bench.rows(place=n, **columns))
        for n in range(1, count + 1)
    ]


def complaint(config: Config, span: str | None = None) -> HeadraceError:
    with pytest.raises(HeadraceError) as caught:
        preflight.check_data(config, span)
    return caught.value


def test_good_data_gives_the_window_and_its_fingerprint(bench: Any) -> None:
    paths = months(bench, 4)
    config = bench.config(window={"train_spans": 2})
    window, print_ = preflight.check_data(config, None)
    assert window.labels() == {"train": ["2019-02", "2019-03"], "eval": ["2019-04"]}
    paths[0].write_text("outside the window, so nobody looks")
    assert preflight.check_data(config, None) == (window, print_)
    older, _ = preflight.check_data(bench.config(window={"train_spans": 1}), "2019-03")
    assert older.labels() == {"train": ["2019-02"], "eval": ["2019-03"]}


def test_faults_of_several_files_are_told_together(bench: Any) -> None:
    first, second, third, _ = months(bench, 4)
    first.write_bytes(b"")
    second.write_text(second.read_text().replace("fare", "price"))
    third.write_bytes(third.read_text().encode("utf-16"))
    error = complaint(bench.config())
    lines = str(error).splitlines()
    assert [line.split(":")[0].split(",")[0] for line in lines] == [
        *(str(first), str(second), str(third))
    ]
    assert "is empty" in lines[0]
    assert "lacks column(s) fare" in lines[1]
    assert "is not utf-8 text" in lines[2]
    assert error.exit_code == 1


def test_many_faults_do_not_fill_the_screen(bench: Any) -> None:
    for path in months(bench, 9):
        path.write_bytes(b"")
    lines = str(complaint(bench.config())).splitlines()
    assert len(lines) == 6
    assert lines[-1] == "… and 4 more like these"


def test_an_expression_at_fault_in_every_file_is_told_once(bench: Any) -> None:
    first, *_ = months(bench, 5)
    error = complaint(bench.config(label={"expression": "tipp > 1"}))
    assert str(error).splitlines() == [
        f"{first}: 1 fault",
        "  label.expression: names a column that is not there: tipp (found 'tipp > 1'). "
        "Did you mean 'tip'?",
    ]
    assert error.exit_code == 2


def test_an_expression_at_fault_in_one_file_names_that_file(bench: Any) -> None:
    _, second, _ = months(bench, 3, bonus=1)
    second.write_text(second.read_text().replace("bonus", "malus"))
    error = complaint(bench.config(label={"expression": "bonus = 1 AND tip > 1"}))
    assert str(error).startswith(f"{second}: 1 fault\n  label.expression: ")
    assert "bonus" in str(error)


def test_spans_are_checked_before_files(bench: Any) -> None:
    paths = months(bench, 4)
    assert "there is no span 2031-01" in str(complaint(bench.config(), "2031-01"))
    paths[1].unlink()
    assert "the window has a gap" in str(complaint(bench.config()))
    window, _ = preflight.check_data(bench.config(window={"gap": "skip"}), None)
    assert window.labels()["train"] == ["2019-01", "2019-03"]


def test_the_same_file_twice_is_found_after_all_are_readable(bench: Any) -> None:
    first, second, _ = months(bench, 3)
    second.write_bytes(first.read_bytes())
    error = complaint(bench.config())
    assert isinstance(error, DataError)
    assert f"{second}: holds the same bytes as {first}" in str(error)


def test_a_failed_run_on_a_full_disk_says_so(tmp_path: Path) -> None:
    from pipeline.local import disk
    from pipeline.local.result import RunResult

    places = Places(str(tmp_path))
    failed = RunResult("failed", "run", message="Transform failed: OSError: [Errno 28]")
    disk.explain_full_disk(places, failed, lambda path: 1000)
    assert failed.message.startswith(f"the disk of {tmp_path} is full. Free space and run it again")
    assert "Transform failed" in failed.message
    for other in (RunResult("pushed", "run", message="m"), RunResult("failed", "r", message="m")):
        room = 1000 if other.status == "pushed" else disk.FULL_BYTES
        disk.explain_full_disk(places, other, lambda path, room=room: room)
        assert other.message == "m"


@pytest.mark.parametrize("pushed_by", ["run", "another"])
def test_a_run_that_broke_after_its_push_says_what_is_on_the_disk(
    tmp_path: Path, pushed_by: str
) -> None:
    from types import SimpleNamespace

    from pipeline.local import run as local
    from pipeline.local.result import RunResult
    from serving.manifest import Provenance
    from serving.registry import Registry

    serving = SimpleNamespace(path=str(tmp_path / "serving"), model_name="m")
    config: Any = SimpleNamespace(serving=serving)
    failed = RunResult("failed", "run", message="the disk is full")
    local._tell_of_push(config, failed)
    assert (failed.model_version, failed.message) == (None, "the disk is full")
    model = tmp_path / "model"
    model.mkdir()
    (model / "saved_model.pb").write_text("graph")
    Registry(serving.path, "m").push(model, Provenance(run_id=pushed_by))
    local._tell_of_push(config, failed)
    if pushed_by == "another":
        assert (failed.model_version, failed.message) == (None, "the disk is full")
    else:
        assert failed.model_version == 1
        assert "Version 1 was pushed before that, and is served." in failed.message
