"""`[beam]` as Beam pipeline arguments."""

from __future__ import annotations

from pipeline.config import BeamConfig

_RUNNERS = {
    # Named in full: Beam's own default tries first to fetch another runner from the network.
    # In memory and on one worker: with several processes it was two to three times slower here.
    "direct": "apache_beam.runners.portability.fn_api_runner.FnApiRunner",
    "flink": "FlinkRunner",
    "spark": "SparkRunner",
    "dataflow": "DataflowRunner",
}


def beam_arguments(config: BeamConfig) -> list[str]:
    """Arguments for `beam.Pipeline`; a true option becomes a bare flag, a false one is left out."""
    arguments = [f"--runner={_RUNNERS[config.runner]}"]
    if config.runner == "direct":
        # Unless told where workers find TFX, each Beam executor copies TFX and packs it into a
        # source distribution first, seconds every time. In-memory workers are this very process.
        arguments.append("--sdk_container_image=none")
    for name, value in config.options.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value is not False:
            arguments.append(f"--{name}={value}")
    return arguments
