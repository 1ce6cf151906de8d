"""The registry: whole versions or none, numbers that only grow, nothing in use ever deleted."""

import errno
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from serving import layout
from serving.durable import locked, rename_to_absent
from serving.manifest import (
    Manifest,
    Provenance,
    hash_folder,
    is_same_model,
    model_digest,
    parse_manifest,
)
from serving.registry import Registry, RegistryBusyError, RegistryError

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("kill_driver.py")
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
NUMBERS = st.integers(0, 2**63 - 1)


def make_model(folder: Path, weights: str = "w", files: int = 0) -> Path:
    (folder / "variables").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "saved_model.pb").write_text("graph")
    (folder / "variables" / "variables.index").write_text("index")
    (folder / "variables" / "variables.data-00000-of-00001").write_text(weights)
    for number in range(files):
        (folder / "assets" / f"vocabulary-{number}").write_bytes(os.urandom(5_000))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_model(tmp_path / "model")


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "base", "m")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: kills do not test the disk, and syncing takes long."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def numbers(registry: Registry) -> list[int]:
    return [version.number for version in registry.versions()]


def leftovers(registry: Registry) -> list[str]:
    return [n for n in os.listdir(registry.folder) if n.startswith(layout.LEFTOVER_PREFIXES)]


# Names and numbers


@given(NUMBERS, st.integers(0, 5), st.sampled_from(["", "+"]))
def test_a_whole_number_is_a_version_whatever_its_leading_zeros(
    number: int, zeros: int, sign: str
) -> None:
    assert layout.parse_version(f"{sign}{'0' * zeros}{number}") == number


@pytest.mark.parametrize(
    "name",
    ["", "-1", "1.0", "1_000", "१२", "12.tmp", ".staging-12-ab", "v1", "1e3", "0x1", "1 2",
     "9223372036854775808"],
)  # fmt: skip
def test_every_other_name_is_ignored(name: str) -> None:
    assert layout.parse_version(name) is None


@given(st.text())
def test_any_name_parses_to_an_int64_or_to_nothing(name: str) -> None:
    number = layout.parse_version(name)
    assert number is None or (0 <= number < 2**63 and int(name) == number)


def test_of_two_names_for_one_number_the_later_wins() -> None:
    assert layout.index_versions(["7", "007", "07"]) == {7: "7"}


@given(st.lists(st.integers(0, 2**62)), st.integers(0, 2**62))
def test_the_next_number_is_above_all_there_are_and_ever_were(found: list[int], mark: int) -> None:
    following = layout.next_version(map(str, found), mark)
    assert following == max([0, mark, *found]) + 1


def test_after_the_last_int64_there_is_no_number() -> None:
    with pytest.raises(RegistryError, match="largest number"):
        layout.next_version([str(2**63 - 1)], 0)


@given(st.sets(NUMBERS), st.sets(NUMBERS), st.integers(1, 5))
def test_retention_spares_what_is_labelled_and_the_newest(
    found: set[int], in_use: set[int], keep_last: int
) -> None:
    expired = layout.expired_versions(found, in_use, keep_last)
    assert expired == sorted(expired)
    assert not in_use & set(expired)
    assert not set(sorted(found)[-keep_last:]) & set(expired)
    assert len(found - set(expired) - in_use) <= keep_last


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "ü"])
def test_a_model_name_must_be_fit_for_folders_and_urls(tmp_path: Path, name: str) -> None:
    with pytest.raises(RegistryError, match="model name"):
        Registry(tmp_path, name)


def test_a_url_is_refused() -> None:
    with pytest.raises(RegistryError, match="not a local folder"):
        Registry("gs://bucket/models", "m")


# Pushing


def test_a_push_is_a_whole_copy_with_a_manifest(registry: Registry, model: Path) -> None:
    assert numbers(registry) == [] and registry.newest() is None
    before = hash_folder(model)
    pushed = registry.push(model, Provenance(run_id="run-1", span="2019-12", rows={"train": 3}))
    version = registry.newest()
    assert version and version.number == pushed.version == 1
    assert version.manifest == pushed == registry.manifest(1) == registry.newest_whole()
    assert version.path == Path(registry.location(1)) == registry.folder / "1"
    assert (pushed.run_id, pushed.span, pushed.rows) == ("run-1", "2019-12", {"train": 3})
    assert hash_folder(version.path) == before == hash_folder(model)
    assert (version.path / "assets").is_dir()
    assert registry.verify(1) == [] and leftovers(registry) == []


def test_numbers_never_repeat_even_if_all_versions_are_gone(
    registry: Registry, model: Path
) -> None:
    assert [registry.push(model, Provenance()).version for _ in range(3)] == [1, 2, 3]
    for version in registry.versions():
        shutil.rmtree(version.path)
    assert registry.push(model, Provenance()).version == 4


def test_folders_of_others_count_for_the_number_and_are_left_alone(
    registry: Registry, model: Path
) -> None:
    for name in ("00000123", "tmp_456", "123.tmp"):
        (registry.folder / name).mkdir(parents=True)
    (registry.folder / "45").write_text("a file")
    assert registry.push(model, Provenance()).version == 124
    assert registry.retain(1) == [] and numbers(registry) == [45, 123, 124]
    assert registry.verify(45) and registry.verify(123)


def test_a_damaged_high_water_mark_costs_nothing(registry: Registry, model: Path) -> None:
    registry.push(model, Provenance())
    (registry.folder / layout.HIGH_WATER).write_bytes(b"\xff\x00")
    assert registry.push(model, Provenance()).version == 2


def test_a_number_taken_meanwhile_is_not_overwritten(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = os.rename

    def rename_after_rival(source: Path, target: Path) -> None:
        if target.name in ("1", "2"):
            target.mkdir()
            (target / "rival").touch()
        rename(source, target)

    monkeypatch.setattr(os, "rename", rename_after_rival)
    assert registry.push(model, Provenance()).version == 3
    assert registry.verify(3) == [] and registry.manifest(3).version == 3
    assert os.listdir(registry.folder / "1") == os.listdir(registry.folder / "2") == ["rival"]


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_a_name_that_is_taken_is_taken_even_if_empty(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "1")
    assert not rename_to_absent(make_model(tmp_path / "model"), tmp_path / "1")
    assert (tmp_path / "model").is_dir()


def test_pushes_at_once_take_turns(registry: Registry, model: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        pushed = list(pool.map(lambda _: registry.push(model, Provenance()).version, range(8)))
    assert sorted(pushed) == numbers(registry) == list(range(1, 9))
    assert all(registry.verify(number) == [] for number in pushed)


def test_who_waits_in_vain_learns_for_whom(registry: Registry, model: Path) -> None:
    registry.push(model, Provenance())
    impatient = Registry(registry.folder.parent, "m", wait_seconds=0.1)
    with (
        locked(registry.folder / layout.LOCK, "push", 0),
        pytest.raises(RegistryBusyError, match=rf"process {os.getpid()} on .*push.*0\.1 seconds"),
    ):
        impatient.push(model, Provenance())
    assert impatient.push(model, Provenance()).version == 2


def test_the_source_must_be_a_saved_model(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match=r"holds no saved_model\.pb"):
        registry.push(tmp_path, Provenance())


def test_a_source_that_changes_under_the_copy_is_not_pushed(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copyfile = shutil.copyfile

    def copy_half(source: Path, target: Path) -> None:
        copyfile(source, target)
        os.truncate(target, 1)

    monkeypatch.setattr(shutil, "copyfile", copy_half)
    with pytest.raises(RegistryError, match="differs from it"):
        registry.push(model, Provenance())
    assert numbers(registry) == [] and leftovers(registry) == []


# Disks that refuse


@pytest.mark.parametrize(
    "number, words", [(errno.ENOSPC, "Free some space"), (errno.EROFS, "Mount it writable")]
)
def test_a_disk_that_refuses_is_explained(
    registry: Registry, model: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(_: Path, target: Path) -> None:
        raise OSError(number, os.strerror(number), str(target))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", refuse)
        with pytest.raises(RegistryError, match=rf"cannot push in .*/m: .*{words}"):
            registry.push(model, Provenance())
    assert numbers(registry) == [] and leftovers(registry) == []
    assert registry.push(model, Provenance()).version == 1


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_cut_short_by_the_system_leaves_nothing(registry: Registry, tmp_path: Path) -> None:
    model = make_model(tmp_path / "large", weights="w" * 100_000)
    with largest_file(50_000), pytest.raises(RegistryError, match="File too large"):
        registry.push(model, Provenance())
    assert numbers(registry) == [] and leftovers(registry) == []


def test_a_file_where_the_folder_should_be_is_explained(model: Path, tmp_path: Path) -> None:
    (tmp_path / "base").touch()
    registry = Registry(tmp_path / "base", "m")
    for ask in (registry.versions, lambda: registry.push(model, Provenance())):
        with pytest.raises(RegistryError, match="Not a directory"):
            ask()


# Verifying


def test_verify_names_every_file_that_is_wrong(registry: Registry, model: Path) -> None:
    registry.push(model, Provenance())
    folder = registry.folder / "1"
    (folder / "saved_model.pb").write_text("grapH")
    (folder / "variables" / "variables.index").unlink()
    (folder / "variables" / "variables.data-00000-of-00001").write_text("longer")
    (folder / "assets" / "new").touch()
    assert registry.verify(1) == [
        "variables/variables.index: missing",
        "saved_model.pb: changed (same size, other content)",
        "variables/variables.data-00000-of-00001: changed (6 bytes, manifest says 1)",
        "assets/new: extra",
    ]
    assert registry.newest_whole() is None


def test_a_damaged_or_borrowed_manifest_is_a_problem(registry: Registry, model: Path) -> None:
    registry.push(model, Provenance())
    shutil.copytree(registry.folder / "1", registry.folder / "5")
    assert registry.verify(5) == [f"{layout.MANIFEST}: is of version 1"]
    (registry.folder / "1" / layout.MANIFEST).write_text('{"version": "x"}')
    assert "is not a manifest: version" in registry.verify(1)[0]
    assert registry.versions()[0].manifest is None
    with pytest.raises(RegistryError, match=r"no version 9 .*there are: 1, 5"):
        registry.verify(9)


# Manifests


def manifest_of(files: Path, **provenance: object) -> Manifest:
    return Manifest.of(1, "m", hash_folder(files), Provenance.model_validate(provenance))


def test_a_manifest_of_a_later_headrace_is_understood_and_kept(model: Path) -> None:
    text = json.loads(manifest_of(model, metrics={"auc": float("nan")}).to_json())
    manifest = parse_manifest(json.dumps({**text, "invented_later": [1]}), "here")
    assert json.loads(manifest.to_json()) == {**text, "invented_later": [1]}
    assert manifest.metrics["auc"] != manifest.metrics["auc"]


def test_the_model_digest_is_what_a_shell_computes(model: Path) -> None:
    shell = "find -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum"
    listing = subprocess.run(shell, shell=True, cwd=model, capture_output=True, check=True).stdout
    assert model_digest(hash_folder(model)) == hashlib.sha256(listing).hexdigest()


def test_the_same_weights_are_the_same_model_only_if_made_the_same_way(model: Path) -> None:
    origin = dict.fromkeys(
        ("weights_sha256", "code_sha256", "config_sha256", "schema_sha256"), "same"
    )
    pushed = manifest_of(model, **origin)
    assert is_same_model(pushed, pushed.model_sha256, Provenance())
    assert is_same_model(pushed, "other bytes", Provenance.model_validate(origin))
    for key in origin:
        for value in ("other", None):
            candidate = Provenance.model_validate({**origin, key: value})
            assert not is_same_model(pushed, "other bytes", candidate)
    assert not is_same_model(manifest_of(model), "other bytes", Provenance())


# Labels and retention


def test_labels_move_together_or_not_at_all(registry: Registry, model: Path) -> None:
    for _ in range(3):
        registry.push(model, Provenance())
    assert registry.assign_labels({"stable": 1, "canary": 3}) == {"canary": 3, "stable": 1}
    assert registry.version(3).labels == ("canary",)
    with pytest.raises(RegistryError, match="no version 9"):
        registry.assign_labels({"stable": 3, "canary": 9})
    with pytest.raises(RegistryError, match="empty"):
        registry.assign_labels({"": 1})
    assert registry.labels() == {"canary": 3, "stable": 1}
    assert registry.assign_labels({"stable": 3, "canary": None}) == {"stable": 3}
    assert registry.retain(1) == [1, 2]


@pytest.mark.parametrize("text", ["", "[]", '{"stable": "1"}', '{"stable": -1}', "\x00"])
def test_unreadable_labels_delete_nothing(registry: Registry, model: Path, text: str) -> None:
    for _ in range(2):
        registry.push(model, Provenance())
    (registry.folder / layout.LABELS).write_text(text)
    with pytest.raises(RegistryError, match=r"labels\.json must hold"):
        registry.retain(1)
    assert (registry.folder / "1").is_dir()


def test_keeping_no_version_is_refused(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="at least 1"):
        registry.retain(0)


class RegistryMachine(RuleBasedStateMachine):
    """Any order of changes: numbers grow, labelled and newest versions stay, all are whole."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY))
        self.model = make_model(self.folder / "model")
        self.registry = Registry(self.folder / "base", "m")
        self.present: list[int] = []
        self.in_use: dict[str, int] = {}
        self.highest = 0

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @rule()
    def push(self) -> None:
        number = self.registry.push(self.model, Provenance()).version
        assert number > self.highest
        self.highest = number
        self.present.append(number)

    @precondition(lambda self: self.present)
    @rule(data=st.data(), label=st.sampled_from(["stable", "canary"]))
    def label(self, data: st.DataObject, label: str) -> None:
        self.in_use[label] = data.draw(st.sampled_from(self.present))
        self.registry.assign_labels({label: self.in_use[label]})

    @rule(label=st.sampled_from(["stable", "canary"]))
    def unlabel(self, label: str) -> None:
        self.in_use.pop(label, None)
        self.registry.assign_labels({label: None})

    @precondition(lambda self: self.present)
    @rule(data=st.data())
    def delete_by_hand(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.present))
        shutil.rmtree(self.registry.folder / str(number))
        self.present.remove(number)
        self.in_use = {label: to for label, to in self.in_use.items() if to != number}
        self.registry.assign_labels(dict.fromkeys(self.registry.labels()) | self.in_use)

    @rule(keep_last=st.integers(1, 3))
    def retain(self, keep_last: int) -> None:
        deleted = self.registry.retain(keep_last)
        assert not set(deleted) & {*self.in_use.values(), *self.present[-1:]}
        self.present = [number for number in self.present if number not in deleted]

    @invariant()
    def what_is_there_is_whole(self) -> None:
        assert numbers(self.registry) == self.present
        assert self.registry.labels() == self.in_use
        assert all(self.registry.verify(number) == [] for number in self.present)


TestRegistryMachine = RegistryMachine.TestCase
TestRegistryMachine.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


# Kills


def killed(mode: str, change: str, memory: Path, files: int) -> list[Registry]:
    """Versions 1, 2, 3 with `stable` on 1, changed by processes killed at many moments."""
    source = make_model(memory / "source", weights="new", files=files)
    template, folder = memory / "template", memory / "killed"
    for _ in range(3):
        Registry(template, "m").push(source, Provenance())
    Registry(template, "m").assign_labels({"stable": 1})
    folder.mkdir()
    subprocess.run(
        [sys.executable, DRIVER, mode, change, template, source, folder],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    registries = [Registry(base, "m", wait_seconds=0) for base in folder.iterdir()]
    for registry in registries:
        assert all(registry.verify(number) == [] for number in numbers(registry))
        assert {1, 3} <= set(numbers(registry))
    return registries


@pytest.mark.parametrize("mode, files", [("steps", 2), ("random", 80)])
def test_a_push_killed_at_any_moment_leaves_whole_versions_only(
    mode: str, files: int, memory: Path
) -> None:
    registries = killed(mode, "push", memory, files)
    assert len(registries) >= 20
    outcomes = set()
    for registry in registries:
        outcomes.add(tuple(numbers(registry)))
        following = registry.push(memory / "source", Provenance()).version
        assert following > max(numbers(registry)[:-1]) and leftovers(registry) == []
    assert outcomes <= {(1, 2, 3), (1, 2, 3, 4)} and (1, 2, 3) in outcomes


def test_a_retention_killed_at_any_moment_leaves_whole_versions_only(memory: Path) -> None:
    registries = killed("steps", "retain", memory, files=2)
    assert {tuple(numbers(registry)) for registry in registries} == {(1, 2, 3), (1, 3)}
    for registry in registries:
        registry.retain(1)
        assert numbers(registry) == [1, 3] and leftovers(registry) == []


def test_labels_killed_at_any_moment_are_the_old_or_the_new(memory: Path) -> None:
    registries = killed("steps", "label", memory, files=0)
    found = {tuple(registry.labels().items()) for registry in registries}
    assert found == {(("stable", 1),), (("canary", 3), ("stable", 2))}


# The room


def test_the_registry_starts_without_tensorflow_tfx_and_the_other_rooms() -> None:
    script = (
        "import sys, serving.registry; "
        "print({'tensorflow', 'tfx', 'pipeline', 'models'} & sys.modules.keys())"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "set()"
