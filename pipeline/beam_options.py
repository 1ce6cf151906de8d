"""`[beam]` as Beam pipeline arguments, and what is wrong with it before anything starts."""

from __future__ import annotations

import difflib
import json
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from pipeline.config import BeamConfig
from pipeline.errors import ConfigError, Fault, shorten

_RUNNERS = {
    # Named in full: Beam's own default tries first to fetch another runner from the network.
    # In memory and on one worker: with several processes it was two to three times slower here.
    "direct": "apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}

#: Where these run SDK workers there is TFX already: beside this process, or as it was installed.
_WITHOUT_IMAGE = ("LOOPBACK", "PROCESS", "EXTERNAL")

_ENVIRONMENTS = ("DOCKER", "LOOPBACK", "PROCESS", "EXTERNAL")
_COMMAND, _POOL = '{"command": "/opt/apache/beam/boot"}', "localhost:50000"

#: What starts a worker in an environment that has Headrace: `pipeline.beam_worker`.
WORKER_COMMAND = "headrace-beam-worker"

_DATAFLOW = {
    "project": "my-project",
    "region": "europe-west1",
    "temp_location": "gs://my-bucket/temp",
    "sdk_container_image": "europe-west1-docker.pkg.dev/my-project/headrace/worker:1.4.0",
}
_BUCKET = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/|$)")
_AUTOSCALING = ("THROUGHPUT_BASED", "NONE")


def beam_arguments(config: BeamConfig) -> list[str]:
    """Arguments for `beam.Pipeline`.

    A true option becomes a bare flag, a false one is left out, a list repeats its flag.
    """
    arguments = [f"--runner={_RUNNERS[config.runner]}"]
    options = config.options
    if "sdk_container_image" not in options and (
        config.runner == "direct" or options.get("environment_type") in _WITHOUT_IMAGE
    ):
        # Unless told where workers find TFX, each Beam executor copies TFX and packs it into a
        # source distribution first, seconds every time.
        arguments.append("--sdk_container_image=none")
    if options.get("environment_type") == "PROCESS" and not options.get("environment_config"):
        arguments.append(f"--environment_config={_this_environment()}")
    return [*arguments, *_flags(config)]


def _this_environment() -> str:
    """Workers out of the environment that this process runs in, found at the same path."""
    return json.dumps({"command": os.path.join(sys.prefix, "bin", WORKER_COMMAND)})


def _flags(config: BeamConfig) -> Iterator[str]:
    for name, value in config.options.items():
        for item in value if isinstance(value, tuple) else (value,):
            if item is True:
                yield f"--{name}"
            elif item is not False:
                yield f"--{name}={item}"


def check(config: BeamConfig, source: str = "[beam]") -> None:
    """Refuses options that Beam or the runner would refuse, or worse, pass over.

    Raises:
        ConfigError: with every fault found.
    """
    found = list(faults(config))
    if found:
        raise ConfigError(source, found)


def faults(config: BeamConfig) -> Iterator[Fault]:
    """What is wrong with the options, for this runner.

    Loads Beam (seconds) only if there are options.
    """
    if config.options:
        yield from _known(config)
    if config.runner == "dataflow":
        yield from _dataflow(config.options)
    elif config.runner in ("flink", "spark"):
        yield from _portable(config)
    else:
        yield from _direct(config.options)


class _RefusedError(Exception):
    """Beam's own parser does not take a value."""


def _known(config: BeamConfig) -> Iterator[Fault]:
    """Every name and value against the parser that Beam itself uses.

    Beam drops an option that it does not know, with a line in its log.
    """
    from apache_beam.options import pipeline_options

    class Parser(pipeline_options._BeamArgumentParser):  # type: ignore[misc]
        def error(self, message: str) -> NoReturn:
            raise _RefusedError(message)

    parser = Parser(allow_abbrev=False)
    for group in pipeline_options.PipelineOptions.__subclasses__():
        if group.__module__ == pipeline_options.__name__:
            group._add_argparse_args(parser)
    names = {name[2:] for name in parser._option_string_actions if name.startswith("--")}
    for name, value in config.options.items():
        key = f"beam.options.{name}"
        if name == "runner":
            yield Fault(key, shorten(value), "is said by beam.runner", "Take it out.")
        elif name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else "Take it out."
            yield Fault(key, shorten(value), "is not an option of Beam's", hint)
        else:
            one = BeamConfig(runner=config.runner, options={name: value})
            try:
                parser.parse_args(list(_flags(one)))
            except _RefusedError as error:
                what = re.sub(r"^argument \S+: ", "", str(error))
                yield Fault(key, shorten(value), f"is refused by Beam: {what}", "Mend it.")


def _dataflow(options: dict[str, Any]) -> Iterator[Fault]:
    for name, example in _DATAFLOW.items():
        if not options.get(name):
            yield _missing(name, "dataflow", f'"{example}"')
    for name in ("temp_location", "staging_location"):
        # Where both are wrong Beam would make a bucket of its own instead of saying so.
        if options.get(name) and not _BUCKET.match(str(options[name])):
            yield _wrong(name, options, "must be in a bucket", f'"{_DATAFLOW["temp_location"]}"')
    project = str(options.get("project", ""))
    if project and not re.fullmatch(r"[a-z][-a-z0-9:.]+[a-z0-9]", project):
        yield _wrong("project", options, "must be a project's id, not its number or name", "it so")
    algorithm = options.get("autoscaling_algorithm")
    if algorithm is not None and algorithm not in _AUTOSCALING:
        yield _wrong("autoscaling_algorithm", options, f"must be one of {_AUTOSCALING}", "one")
    least, most = options.get("num_workers"), options.get("max_num_workers")
    if isinstance(least, int) and isinstance(most, int) and least > most:
        rule = f"must not be above max_num_workers ({most})"
        yield _wrong("num_workers", options, rule, "a smaller number")


def _portable(config: BeamConfig) -> Iterator[Fault]:
    """Flink and Spark: where the cluster is, and what the SDK's workers run in."""
    options, runner = config.options, config.runner
    master = {"flink": "flink_master", "spark": "spark_master_url"}[runner]
    example = {"flink": '"flink-jobmanager:8081"', "spark": '"spark://host:7077"'}[runner]
    if not options.get(master) and not options.get("job_endpoint"):
        yield _missing(master, runner, f"{example}, or job_endpoint (of a running job server)")
    kind = str(options.get("environment_type", "DOCKER"))
    setting = options.get("environment_config")
    if kind not in _ENVIRONMENTS:
        yield _wrong("environment_type", options, f"must be one of {list(_ENVIRONMENTS)}", "one")
    elif kind == "DOCKER" and not (options.get("sdk_container_image") or setting):
        yield Fault(
            "beam.options.sdk_container_image",
            "",
            f"is required for {runner}, whose workers run in containers unless environment_type "
            "says otherwise",
            "Name the image that `make image TARGET=worker` built.",
        )
    elif kind == "PROCESS" and setting and not _names_a_command(str(setting)):
        rule = "must be JSON that names a command"
        yield _wrong("environment_config", options, rule, f"'{_COMMAND}', or leave it out")
    elif kind == "EXTERNAL" and not setting:
        yield _missing("environment_config", "environment_type EXTERNAL", f"'{_POOL}'")
    elif kind == "EXTERNAL" and not re.fullmatch(r"\S+:\d+", str(setting)):
        rule = "must be the HOST:PORT of a worker pool"
        yield _wrong("environment_config", options, rule, f"'{_POOL}'")
    parallelism = options.get("parallelism", 1)
    if runner == "flink" and isinstance(parallelism, int) and parallelism < 1:
        yield _wrong("parallelism", options, "must be at least 1", "how many slots to work in")


def _names_a_command(setting: str) -> bool:
    try:
        value = json.loads(setting)
    except ValueError:
        return False
    return isinstance(value, dict) and bool(value.get("command"))


def _direct(options: dict[str, Any]) -> Iterator[Fault]:
    workers = options.get("direct_num_workers", 1)
    if workers != 1 and options.get("direct_running_mode", "in_memory") == "in_memory":
        rule = "changes nothing while direct_running_mode is in_memory"
        hint = 'direct_running_mode = "multi_processing" beside it'
        yield _wrong("direct_num_workers", options, rule, hint)


def _missing(name: str, what: str, example: str) -> Fault:
    return Fault(f"beam.options.{name}", "", f"is required for {what}", f"Add {name} = {example}.")


def _wrong(name: str, options: dict[str, Any], rule: str, remedy: str) -> Fault:
    return Fault(f"beam.options.{name}", shorten(options[name]), rule, f"Write {remedy}.")
