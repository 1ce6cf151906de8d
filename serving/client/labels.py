"""Moving a label on a running server, in the one order that never leaves it pointing nowhere.

A server refuses a label for a version that is not available, and a reload names everything it is
to serve. So: first make it load the version (with the labels as they are), wait until that is
available, then move the label, then ask by the label and see who answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from serving.client import models_config
from serving.client.client import Client
from serving.client.errors import ClientError, Code, Refused

_POLL_SECONDS = 0.1


class NotMoved(ClientError):
    """The server's labels are as they were; the message says why."""


def change(
    client: Client,
    model: str,
    config: Any,
    before: Mapping[str, int],
    after: Mapping[str, int],
    *,
    wait_seconds: float = 120.0,
    say: Callable[[str], None] = lambda _: None,
) -> Any:
    """Makes a model's labels on a server those of `after`.

    Args:
        client: of the model, over gRPC, without a version or label.
        model: its name.
        config: all that the server serves, a ModelServerConfig; the other models stay as in it.
        before: the labels now.
        after: the labels wanted.
        wait_seconds: how long the versions may take to load, in seconds.
        say: told each step.

    Returns:
        The configuration that the server has now.

    Raises:
        NotMoved: it refused or a version did not load; labels are as before.
        ClientError: no answer, or (the message says so) the verification failed.
    """
    moved = {label: to for label, to in after.items() if before.get(label) != to}
    wanted = set(after.values())
    available = _available(client, model)
    if wanted - available:
        say(f"loading {_versions(wanted - available)}")
        # Labels that are to move keep their old place meanwhile, where that is served.
        meanwhile = {label: to for label, to in before.items() if to in available}
        try:
            client.reload(models_config.serving(config, model, meanwhile, wanted))
        except Refused as error:
            raise NotMoved(f"the server refused to load a version: {error}") from error
        _wait(client, model, wanted, wait_seconds)
    final = models_config.serving(config, model, after)
    say("moving the label" if moved else "removing the label")
    try:
        client.reload(final)
    except Refused as error:
        raise NotMoved(f"the server refused the labels: {error}") from error
    _verify(client, moved, set(before) - set(after))
    return final


def _available(client: Client, model: str) -> set[int]:
    try:
        states = client.status()
    except Refused as error:
        if error.code is not Code.NOT_FOUND:
            raise
        raise NotMoved(
            f"the server at {client.where} does not serve model {model}, and would unload what it "
            "serves instead. Is it the right address?"
        ) from error
    return {status.version for status in states if status.state == "AVAILABLE"}


def _wait(client: Client, model: str, wanted: set[int], seconds: float) -> None:
    end = time.monotonic() + seconds
    while True:
        states = {status.version: status for status in client.status()}
        waiting = []
        for version in sorted(wanted):
            status = states.get(version)
            if status is not None and status.state == "END" and status.code != "OK":
                raise NotMoved(
                    f"version {version} of {model} did not load: {status.code}: {status.message}"
                )
            if status is None or status.state != "AVAILABLE":
                waiting.append(f"{version} ({status.state if status else 'not found'})")
        if not waiting:
            return
        if time.monotonic() >= end:
            raise NotMoved(
                f"after {seconds:g} s the server does not serve version {', '.join(waiting)} of "
                f"{model}. Does it see the model's folder where --base-path says?"
            )
        time.sleep(_POLL_SECONDS)


def _verify(client: Client, moved: Mapping[str, int], removed: set[str]) -> None:
    """Asks by each label: the server must say the version that it points to, or know it no more."""
    for label, version in moved.items():
        answered = client.metadata(label=label).version
        if answered != version:
            raise ClientError(
                f"the server took label {label} for version {version}, but version {answered} "
                "answers for it. Does somebody else change its configuration?"
            )
    for label in sorted(removed):
        try:
            answered = client.metadata(label=label).version
        except Refused as error:
            if error.code is Code.INVALID_ARGUMENT:
                continue
            raise
        raise ClientError(f"the server still answers for label {label}: version {answered}.")


def _versions(versions: set[int]) -> str:
    return "version " + ", ".join(map(str, sorted(versions)))
