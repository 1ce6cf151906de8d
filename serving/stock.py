"""Command lines for one model: the embedded server's, and the stock image's, which are alike.

Both take the flags of `tensorflow_model_server`. The image sees the model's folder under the path
it has here, so that one `models.config` serves both.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from serving.layout import RegistryError

#: The stock server, pinned; serving/deploy names the same.
IMAGE = "tensorflow/serving:2.20.0"
#: Beside the versions: what the server of this model was last started with.
MODELS_CONFIG = "models.config"
_IMAGE_PORTS = (8500, 8501)


def deploy_file(name: str) -> Path:
    """A file of serving/deploy, absolute."""
    return Path(__file__).resolve().parent / "deploy" / name


@dataclass(frozen=True, slots=True)
class Start:
    """How one model is to be served.

    Attributes:
        model: its name.
        folder: with its versions, absolute.
        host: address to listen on.
        port: for gRPC; 0: a free one.
        rest_port: for REST; 0: a free one.
        labels: label → version number.
        extra: further flags, as they are.
    """

    model: str
    folder: Path
    host: str = "127.0.0.1"
    port: int = 8500
    rest_port: int = 8501
    labels: Mapping[str, int] = field(default_factory=dict)
    extra: Sequence[str] = ()

    def models_config(self) -> str:
        """The text of the file that `flags` names, where there are labels.

        All versions in the folder are served then: a labelled one must stay loaded when newer
        ones come.
        """
        labels = "".join(
            f"    version_labels {{ key: {_quoted(label)} value: {version} }}\n"
            for label, version in sorted(self.labels.items())
        )
        return (
            "model_config_list {\n  config {\n"
            f"    name: {_quoted(self.model)}\n"
            f"    base_path: {_quoted(str(self.folder))}\n"
            '    model_platform: "tensorflow"\n'
            "    model_version_policy { all {} }\n"
            f"{labels}  }}\n}}\n"
        )

    def flags(self) -> list[str]:
        """The stock flags, ports apart."""
        if self.labels:
            chosen = [
                f"--model_config_file={self.folder / MODELS_CONFIG}",
                # Nothing is loaded yet when the server reads its configuration.
                "--allow_version_labels_for_unavailable_models=true",
            ]
        else:
            chosen = [f"--model_name={self.model}", f"--model_base_path={self.folder}"]
        monitoring = f"--monitoring_config_file={deploy_file('monitoring.config')}"
        return [*chosen, monitoring, *self.extra]

    def embedded(self) -> list[str]:
        """The embedded server's command."""
        return [
            sys.executable,
            "-m",
            "serving",
            f"--host={self.host}",
            f"--port={self.port or 'auto'}",
            f"--rest_api_port={self.rest_port or 'auto'}",
            *self.flags(),
        ]

    def docker(self) -> list[str]:
        """The stock image's command: the model mounted read-only, nothing writable."""
        mounts = (self.folder, deploy_file("monitoring.config"))
        for mount in mounts:
            if ":" in str(mount):
                raise RegistryError(
                    f"{mount}: docker cannot mount a path with ':' in it. Move the folder."
                )
        published = zip((self.port, self.rest_port), _IMAGE_PORTS, strict=True)
        return [
            *("docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *(
                word
                for here, inside in published
                for word in ("--publish", f"{self.host}:{here or ''}:{inside}")
            ),
            *(word for mount in mounts for word in ("--volume", f"{mount}:{mount}:ro")),
            # Its own entry point is a shell script that does not pass signals on.
            *("--entrypoint", "tensorflow_model_server"),
            IMAGE,
            *(f"--port={_IMAGE_PORTS[0]}", f"--rest_api_port={_IMAGE_PORTS[1]}"),
            *self.flags(),
        ]


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
