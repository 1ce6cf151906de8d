"""`headrace run`: from a configuration to an outcome, on this machine."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import re
import secrets
import shlex
import time
from collections.abc import Callable
from typing import Protocol

from pipeline import files, outside, provenance, run_plan, schema_file, schema_fit
from pipeline.config import Config
from pipeline.errors import HeadraceError, RunError
from pipeline.local import collector, disk, lock, preflight, quiet, scratch
from pipeline.local.places import Places
from pipeline.local.result import EXIT_CODES, RunResult
from pipeline.report.write import index_page, run_page
from pipeline.spans import Window
from serving.layout import RegistryError
from serving.registry import Registry


class Watcher(Protocol):
    """Whoever shows a run's progress."""

    def say(self, message: str) -> None:
        """One line of what is going on."""

    def node(self, name: str, seconds: float | None) -> None:
        """A component starts (None) or has taken so many seconds."""


def run(
    config: Config,
    span: str | None,
    watcher: Watcher,
    *,
    wait_seconds: float,
    config_file: str = "",
) -> RunResult:
    """Runs the pipeline once.

    Args:
        config: what to run.
        span: label of the newest span, None for the newest there is.
        watcher: is told what goes on.
        wait_seconds: how long to wait for another run on the same output folder.
        config_file: where the configuration was read from, for the commands that the page names.

    Returns:
        The outcome; failures of the run are in it, not raised.

    Raises:
        HeadraceError: the run could not start: configuration, data, disk or lock.
    """
    started = time.monotonic()
    places = Places.of(config)
    run_id = f"{dt.datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    preflight.check_beam(config)
    preflight.check_output(places)
    with lock.held(
        places.lock,
        run_id,
        wait_seconds=wait_seconds,
        waiting=lambda holder: watcher.say(f"waiting for {holder}"),
    ):
        preflight.check_metadata(places)
        if files.exists(config.data.schema_file):
            schema_file.read(config.data.schema_file)
        window, fingerprint = preflight.check_data(config, span)
        result = RunResult("failed", run_id, window.newest.label, window.labels())
        version = _up_to_date(config, window, fingerprint)
        if version is not None:
            result.status, result.model_version = "up_to_date", version
            result.message = f"version {version} was made from this data, configuration and code"
            return _finish(result, started)
        os.makedirs(places.run(run_id))
        result.log = places.run(run_id, "run.log")
        result.config_file = os.path.abspath(config_file) if config_file else ""
        files.write_atomically(
            places.run(run_id, "config.json"), config.model_dump_json(indent=2).encode()
        )
        with scratch.folder():
            _execute(config, window, result, places, watcher)
        _name_config(result, config_file)
        _finish(result, started)
        disk.explain_full_disk(places, result)
        _tell_of_push(config, result)
        result.report = places.report(run_id)
        _keep(result, places)
        _pages(result, places, watcher)
        return result


def _name_config(result: RunResult, config_file: str) -> None:
    """Has every command that is named name the configuration, where that is not the default."""
    if config_file in ("", "headrace.toml"):
        return
    option = f" --config {shlex.quote(config_file)}"

    def named(text: str) -> str:
        return re.sub(r"`headrace schema [^`]+", lambda found: found[0] + option, text)

    result.message = named(result.message)
    for finding in result.gates.get("data", {}).get("findings", []):
        finding["message"] = named(finding["message"])


def _keep(result: RunResult, places: Places) -> None:
    with contextlib.suppress(OSError):  # it is told all the same, and listed as interrupted
        path = places.run(result.run_id, "result.json")
        files.write_atomically(path, result.to_json().encode())


def _pages(result: RunResult, places: Places, watcher: Watcher) -> None:
    """Writes the run's page and the index. With or without them, what happened has happened."""

    def page() -> None:
        with quiet.output_to(result.log):  # ML Metadata tells of every connection
            run_page(result, places)

    if not _written(result.report, watcher, page):
        result.report = ""
        _keep(result, places)
    _written(places.index, watcher, lambda: index_page(places))


def _written(path: str, watcher: Watcher, write: Callable[[], object]) -> bool:
    try:
        write()
    except Exception as error:  # noqa: BLE001 - no page is worth another outcome
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        watcher.say(f"warning: {path} was not written ({reason[:160]})")
        return False
    return True


def _finish(result: RunResult, started: float) -> RunResult:
    result.wall_seconds = round(time.monotonic() - started, 2)
    if result.status != "failed" or result.exit_code == 0:
        result.exit_code = EXIT_CODES[result.status]
    return result


def _tell_of_push(config: Config, result: RunResult) -> None:
    """Sees that a run that broke after its push does not deny it: the disk says what is true."""
    if result.status != "failed" or not files.is_local(config.serving.path):
        return
    with contextlib.suppress(RegistryError):
        registry = Registry(config.serving.path, config.serving.model_name)
        for version in registry.versions():
            if version.manifest and version.manifest.run_id == result.run_id:
                result.model_version = version.number
                result.message += (
                    f"\nVersion {version.number} was pushed before that, and is served. Run it "
                    "again: it will be found, not pushed twice."
                )


def _up_to_date(config: Config, window: Window, fingerprint: str) -> int | None:
    """The newest version made from the same in all that decides a run, if any."""
    if not files.is_local(config.serving.path) or not files.exists(config.data.schema_file):
        return None
    wanted = {
        "span": window.newest.label,
        "data_fingerprint": fingerprint,
        "config_sha256": config.digest(),
        "schema_sha256": schema_fit.digest(config),
        "code_sha256": provenance.code_digest(*run_plan.ALL_CODE),
        "inputs_sha256": outside.digest(config),
    }
    try:
        registry = Registry(config.serving.path, config.serving.model_name)
        for version in reversed(registry.versions()):
            made = version.manifest
            if made and all(getattr(made, key) == value for key, value in wanted.items()):
                # A damaged version is made again.
                return version.number if not registry.verify(version.number) else None
    except RegistryError as error:
        raise RunError(str(error)) from error
    return None


def _execute(
    config: Config, window: Window, result: RunResult, places: Places, watcher: Watcher
) -> None:
    """Runs TFX with its noise in the log, and reads the outcome from ML Metadata."""
    os.environ.update({k: v for k, v in quiet.ENVIRONMENT.items() if k not in os.environ})
    watcher.node("imports", None)
    begun = time.monotonic()
    with quiet.output_to(result.log):
        try:
            with collector.quiet():
                from pipeline.local import tfx_run  # TensorFlow and TFX: seconds

            watcher.node("imports", time.monotonic() - begun)
            result.seconds["imports"] = round(time.monotonic() - begun, 2)
            tfx_run.run(config, window, result, places, watcher.node)
        except HeadraceError as error:
            quiet.trace(error)
            result.status, result.message = "failed", str(error)
            result.exit_code = error.exit_code
        except KeyboardInterrupt:
            result.status, result.message = "failed", "interrupted; run it again to go on"
            result.exit_code = 130
        except OSError as error:
            quiet.trace(error)
            problem = RunError(
                f"{error.strerror or error}: {error.filename or places.output}. Free space or "
                "mend the permissions, and run it again."
            )
            result.status, result.message = "failed", str(problem)
        except Exception as error:  # noqa: BLE001 - whatever TFX raises becomes an outcome
            quiet.trace(error)
            result.status = "failed"
            result.message = f"{type(error).__name__}: {str(error).strip()[:500]}"
