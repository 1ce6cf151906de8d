"""Every `headrace` and `make` command that guides and CI files name is one that there is."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from pipeline.cli.main import headrace

ROOT = Path(__file__).resolve().parents[3]
GUIDES = [*sorted((ROOT / "serving/deploy").glob("*.md")), ROOT / "README.md"]
MACHINES = [
    *sorted((ROOT / ".github/workflows").glob("*.yaml")),
    ROOT / "serving/deploy/cloudbuild.yaml",
]
#: What stands for a value.
VALUES = {"VERSION": "12", "IMAGE": "host/image:1", "LABEL": "stable", "SPAN": "2019-12"}
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def lines(path: Path) -> Iterator[str]:
    """Lines that a shell would get; in a guide those of blocks and of inline code."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    if path.suffix == ".md":
        yield from re.findall(r"^ {4}(?! )(?:\$ )?(.+)$", text, re.MULTILINE)
        yield from re.findall(r"^\$ (.+)$", text, re.MULTILINE)
        yield from re.findall(r"`([^`\n]+)`", text)
        return
    text = re.sub(r"\$?\$\{SPAN:\+(.+)\}$", r"\1", text, flags=re.MULTILINE)
    for name, value in VALUES.items():  # Cloud Build writes $$ where a shell gets $
        text = re.sub(rf'"\${{1,2}}{name}"', value, text)
    for line in map(str.strip, text.splitlines()):
        yield re.sub(r"^- |^run: |^- run: |^args: \[-euc, |\]$", "", line)


def commands(path: Path, program: str) -> Iterator[list[str]]:
    for line in lines(path):
        found = re.match(rf"(?:\.venv/bin/)?{program} (\S.*)", line)
        if found is None or "…" in line:
            continue
        # What follows is about it; a guide puts what may be left out in brackets.
        said = re.split(r" {2,}|[;|>#]| && ", found[1])[0]
        yield shlex.split(re.sub(r"[\[\]]", "", said))


CASES = [
    pytest.param(words, id=f"{path.name}: {' '.join(words)}")
    for path in (*GUIDES, *MACHINES)
    for words in commands(path, "headrace")
]


@pytest.mark.parametrize("words", CASES)
def test_headrace_has_this_command_with_these_options(words: list[str]) -> None:
    group: click.Command = headrace
    context = click.Context(headrace, info_name="headrace")
    while isinstance(group, click.Group) and words and not words[0].startswith("-"):
        name, words = words[0], words[1:]
        found = group.get_command(context, name)
        assert found is not None, f"there is no command {name}"
        group, context = found, click.Context(found, parent=context, info_name=name)
    if "--help" in words or not words:
        return  # a command that is only named
    group.make_context(context.info_name, words, parent=context.parent)


def test_the_commands_of_the_deployment_are_among_them() -> None:
    named = {case.id or "" for case in CASES}
    for file, command in (
        ("vertex.md", "vertex dataflow --out build/dataflow"),
        ("vertex.yaml", "vertex submit --sync --image host/image:1 --span 2019-12"),
        ("promote.yaml", "label stable 12"),
        ("cloudbuild.yaml", "vertex lint job.json"),
    ):
        assert f"{file}: {command}" in named


@pytest.mark.parametrize("path", [*GUIDES, *MACHINES], ids=lambda path: path.name)
def test_make_has_these_targets(path: Path) -> None:
    for words in commands(path, "make"):
        for word in words:
            assert "=" in word or word in TARGETS, f"make {word}"


@pytest.mark.parametrize("path", MACHINES[:-1], ids=lambda path: path.name)
def test_workflows_hold_no_key_and_pin_what_they_run(path: Path) -> None:
    import yaml

    text = path.read_text()
    assert "secrets." not in text and "credentials_json" not in text
    for action in re.findall(r"uses: (\S+)(.*)", text):
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action[0]), action
        assert re.fullmatch(r" # v\d+(\.\d+)*", action[1]), action
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for job in workflow["jobs"].values():
        assert job["timeout-minutes"] > 0
        may = job.get("permissions", {})
        assert set(may) <= {"contents", "id-token"} and may.get("contents", "read") == "read"


def test_a_promotion_waits_for_a_person() -> None:
    import yaml

    workflow = yaml.safe_load((ROOT / ".github/workflows/promote.yaml").read_text())
    assert workflow["jobs"]["promote"]["environment"] == "production"
    assert list(workflow[True]) == ["workflow_dispatch"]  # `on`, as YAML 1.1 reads it
