"""`models.config`: what a server serves, as its configuration file and the reload call say it."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format

from serving.client import messages
from serving.client.errors import ClientError
from serving.durable import write_atomic


def entry(
    name: str,
    base_path: str,
    labels: Mapping[str, int] | None = None,
    versions: Sequence[int] | None = None,
) -> Any:
    """One model, as a ModelConfig.

    Args:
        name: that clients ask for.
        base_path: its folder, as the server sees it.
        labels: label → version number.
        versions: to serve; None: all in the folder if there are labels (a labelled version must
            stay loaded when newer ones come), else the newest.
    """
    made = messages.message("ModelConfig")(
        name=name, base_path=base_path, model_platform="tensorflow"
    )
    policy = made.model_version_policy
    if versions is not None:
        policy.specific.versions.extend(sorted(versions))
    elif labels:
        policy.all.SetInParent()
    made.version_labels.update(labels or {})
    return made


def of(entries: Iterable[Any]) -> Any:
    """A ModelServerConfig of these models."""
    made = messages.message("ModelServerConfig")()
    made.model_config_list.config.extend(entries)
    return made


def read(path: str | Path) -> Any:
    """The ModelServerConfig in a file.

    Raises:
        ClientError: it cannot be read, or holds what a server started from it would refuse.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        config: Any = text_format.Parse(text, messages.message("ModelServerConfig")())
    except OSError as error:
        raise ClientError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ClientError(f"{path}: is no model configuration ({error}). Mend it.") from error
    return config


def text(config: Any) -> str:
    """The text of a file that says the same."""
    return str(text_format.MessageToString(config))


def model(config: Any, name: str) -> Any | None:
    """The entry of a model, to read or change; None if there is none."""
    return next((one for one in config.model_config_list.config if one.name == name), None)


def serving(config: Any, name: str, labels: Mapping[str, int], also: Iterable[int] = ()) -> Any:
    """A copy in which a model has these labels and serves what they and `also` point to.

    A policy of specific versions gets the versions it lacks; that of the newest ones becomes "all
    in the folder", since the newest push any of them out sooner or later.
    """
    changed = copy.deepcopy(config)
    one = model(changed, name)
    if one is None:
        raise ClientError(f"the configuration has no model {name}.")
    one.version_labels.clear()
    one.version_labels.update(labels)
    wanted = {*labels.values(), *also}
    policy = one.model_version_policy
    if policy.WhichOneof("policy_choice") == "specific":
        policy.specific.versions.extend(sorted(wanted - set(policy.specific.versions)))
    elif wanted:
        policy.all.SetInParent()
    return changed


def rewrite(path: str | Path, config: Any) -> None:
    """Replaces a file by one that says `config`; the comments at its top stay.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    top = list(
        itertools.takewhile(
            lambda line: line.startswith("#") or not line.strip(),
            path.read_text(encoding="utf-8").splitlines(keepends=True),
        )
    )
    write_atomic(path, "".join(top) + text(config))
