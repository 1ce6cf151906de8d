"""What the commands of `headrace vertex` share."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.extra import require

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.vertex.jobs import Task
    from pipeline.vertex.lint.finding import Finding

#: What the commands import of the extra `vertex`: some only the compiler's side.
COMPILER = ("kfp", "celpy")
CLIENT = ("google.cloud.aiplatform", "google.cloud.storage")


def load(config_file: str, image: str | None = None) -> Config:
    """The configuration, with another image where one is named."""
    from pipeline import config_file as reader

    config = reader.load(config_file)
    if image is None:
        return config
    return config.model_copy(update={"vertex": config.vertex.model_copy(update={"image": image})})


image_option = click.option(
    "--image", metavar="IMAGE", help="Of the tasks, with tag or digest; default: vertex.image."
)


@contextlib.contextmanager
def silently() -> Iterator[None]:
    """TensorFlow's and Google's libraries are imported without a word, and without a network."""
    from pipeline.local import collector, quiet

    os.environ.update({k: v for k, v in quiet.ENVIRONMENT.items() if k not in os.environ})
    with quiet.output_to(os.devnull), collector.quiet():
        yield


def compiled(config: Config) -> dict[str, Any]:
    """The pipeline job of a configuration, once its Beam options are found right."""
    from pipeline import beam_options
    from pipeline.vertex import prepare

    require("vertex", *COMPILER)
    seen = prepare.view(config)  # what is wrong with the configuration is told in half a second
    with silently():
        beam_options.check(seen.beam)  # in a second or two, and only if there are options
        from pipeline.vertex import compile as compiler

        return compiler.compile_job(config)


def watcher(progress: Any) -> Callable[[Task], None]:
    """Shows tasks as `headrace run` shows nodes; one may be over before it was seen to run."""

    def watch(task: Task) -> None:
        if task.state == "RUNNING":
            progress.node(task.name, None)
        elif task.state in ("SUCCEEDED", "FAILED"):
            progress.node(task.name, task.seconds)
        elif task.state == "SKIPPED":
            progress.say(f"  {task.name:<28}  from the cache")

    return watch


def counted(found: list[Finding]) -> str:
    """How many findings, in words."""
    return "no finding" if not found else f"{len(found)} finding{'s' if len(found) > 1 else ''}"


def config_argument(config_file: str) -> str:
    """What the next command needs to read the same configuration; nothing for the default."""
    return "" if config_file == "headrace.toml" else f" --config {config_file}"
