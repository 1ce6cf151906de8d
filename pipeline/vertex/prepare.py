"""The configuration as Vertex sees it, or every fault that keeps it from running there."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from pipeline import files, schema_file
from pipeline.config import BeamConfig, Config
from pipeline.errors import ConfigError, Fault, RunError, shorten
from pipeline.vertex import machines

#: Keys without which there is nothing to compile, and how each is written.
_REQUIRED = {
    "project": 'the Google Cloud project: project = "my-project"',
    "region": 'where it runs: region = "europe-west4"',
    "root": 'a folder in a bucket of that project: root = "gs://my-bucket/pipelines"',
    "image": 'the image to run: image = "europe-west4-docker.pkg.dev/my-project/headrace/app:1"',
}


def view(config: Config, source: str = "[vertex]") -> Config:
    """The configuration that the pipeline is built from for Vertex.

    Paths are those of `[vertex]`, the schema is the copy in the bucket, and Beam knows project and
    region. Its digest is that of the configuration given: what is learnt does not depend on where.

    Raises:
        ConfigError: with every fault found.
        RunError: there is no reviewed schema yet.
    """
    found = sorted(faults(config), key=lambda fault: fault.key)
    if found:
        raise ConfigError(source, found)
    tree = config.model_dump()
    tree["data"]["path"] = data_path(config)
    tree["data"]["schema_file"] = schema_uri(config)
    tree["serving"]["path"] = config.vertex.serving_path or config.serving.path
    tree["drift"]["request_log"] = config.vertex.request_log or config.drift.request_log
    tree["beam"] = _beam(config).model_dump()
    return Config.model_validate(tree)


def data_path(config: Config) -> str:
    """Where Vertex reads the spans."""
    return config.vertex.data_path or config.data.path


def schema_uri(config: Config) -> str:
    """Where the reviewed schema is uploaded to: its name holds its digest, so it never changes.

    Raises:
        RunError: there is no such file.
    """
    path = config.data.schema_file
    if not files.exists(path):
        raise RunError(
            f"{path}: there is no schema yet, and Vertex must not infer one that nobody reviewed. "
            "Run `headrace run` here once, review the file it writes, and commit it."
        )
    folder = posixpath.join(config.vertex.root, "schema", schema_file.digest(path)[:16])
    # ImportSchemaGen keeps the name, and whoever reads the artifact expects this one.
    return posixpath.join(folder, "schema.pbtxt")


def faults(config: Config) -> Iterator[Fault]:
    """What keeps a valid configuration from running on Vertex."""
    vertex = config.vertex
    for key, remedy in _REQUIRED.items():
        if not getattr(vertex, key):
            yield Fault(f"vertex.{key}", "", "is required but missing", f"Name {remedy}.")
    if vertex.image:
        yield from _pinned("vertex.image", vertex.image)
    yield from _worker_image(config)
    yield from _paths(config)
    if config.proof.server.startswith("docker:"):
        yield Fault(
            "proof.server",
            shorten(config.proof.server),
            "cannot be a Docker image: a task on Vertex is a container and has no Docker",
            'Use "embedded", or the path of a tensorflow_model_server in the image.',
        )
    yield from _machines(config)


def _pinned(key: str, image: str) -> Iterator[Fault]:
    name, _, tag = image.rpartition(":")
    if not name or "/" in tag or tag == "latest":
        yield Fault(
            key,
            shorten(image),
            "must name a version: nobody can tell later what 'latest' was",
            "Append a tag, such as :1.4.0, or better a digest, @sha256:….",
        )


def _paths(config: Config) -> Iterator[Fault]:
    """Everything a task reads or writes must be in a bucket."""
    for key, path, override in (
        ("data.path", config.data.path, config.vertex.data_path),
        ("serving.path", config.serving.path, config.vertex.serving_path),
        ("drift.request_log", config.drift.request_log, config.vertex.request_log),
    ):
        name = key.removeprefix("drift.").replace(".", "_")
        if path is None:
            continue
        if not (override or path).startswith("gs://"):
            yield Fault(
                key,
                shorten(path),
                "is not in a bucket, and Vertex sees no other disk than its own",
                f'Set vertex.{name} = "gs://…" (this key stays what runs here use).',
            )


def _machines(config: Config) -> Iterator[Fault]:
    known = f"Known families: {', '.join(machines.FAMILIES)}, with -<processors> behind."
    for node, machine in config.vertex.machines.items():
        if machines.limits(machine.type) is None:
            key = f"vertex.machines.{node}.type"
            yield Fault(key, shorten(machine.type), "is not a known machine type", known)
        elif machine.accelerator and not machine.type.startswith(machines.ACCELERATED):
            yield Fault(
                f"vertex.machines.{node}.accelerator",
                shorten(machine.accelerator),
                f"does not attach to {machine.type}",
                "Accelerators attach to n1 machines: type = 'n1-standard-8'.",
            )
    name = config.vertex.dataflow.machine
    if machines.limits(name) is None:
        key = "vertex.dataflow.machine"
        yield Fault(key, shorten(name), "is not a known machine type", known)


def _beam(config: Config) -> BeamConfig:
    """Dataflow's own settings from `[vertex]`, where `[beam.options]` does not say otherwise."""
    if config.beam.runner != "dataflow":
        return config.beam
    vertex, dataflow = config.vertex, config.vertex.dataflow
    options: dict[str, str | int | float | bool] = {
        "project": vertex.project,
        "region": vertex.region,
        "temp_location": posixpath.join(vertex.root, "dataflow", "temp"),
        "staging_location": posixpath.join(vertex.root, "dataflow", "staging"),
        "worker_machine_type": dataflow.machine,
        "max_num_workers": dataflow.max_workers,
        # The workers must have the packages and the Python that the graph was made with.
        "sdk_container_image": dataflow.image,
        "experiments": "use_runner_v2",
        # On Dataflow Beam would pickle the main session by default, and that is TFX's entry point.
        "no_save_main_session": True,
    }
    account = dataflow.service_account or vertex.service_account
    if account:
        options["service_account_email"] = account
    if dataflow.subnetwork:
        options |= {"subnetwork": dataflow.subnetwork, "no_use_public_ips": True}
    return BeamConfig(runner="dataflow", options={**options, **config.beam.options})


def for_dataflow(config: Config) -> Config:
    """The configuration with Dataflow as Beam's runner; another runner's options are left out."""
    if config.beam.runner == "dataflow":
        return config
    return config.model_copy(update={"beam": BeamConfig(runner="dataflow")})


def _worker_image(config: Config) -> Iterator[Fault]:
    """Dataflow starts an image by its own entry point, and that of `vertex.image` is no worker."""
    if config.beam.runner != "dataflow" or config.beam.options.get("sdk_container_image"):
        return
    image = config.vertex.dataflow.image
    if not image:
        yield Fault(
            "vertex.dataflow.image",
            "",
            "is required for beam.runner dataflow: its workers start by Beam's own boot program",
            "Build and push it (`make image TARGET=worker`), and name it here.",
        )
    else:
        yield from _pinned("vertex.dataflow.image", image)
