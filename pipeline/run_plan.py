"""What one run adds to the configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline import code_reach, outside, provenance
from pipeline.config import Config
from pipeline.drift import calibration

#: The code that each kind of node begins with; what it imports counts too, and nothing else, so
#: that an edit elsewhere does not ingest again.
_CODE = {
    "ingest": ("pipeline/components/span_example_gen.py", "pipeline/ingest"),
    "schema": ("pipeline/components/reviewed_schema.py",),
    "drift": ("pipeline/components/distribution_validator.py", "pipeline/drift"),
    "gate": ("pipeline/components/data_gate.py",),
    "models": ("models",),
    "judge": ("pipeline/components/evaluator.py", "pipeline/components/metrics.py"),
    # The proof starts the server as a program of its own.
    "proof": ("pipeline/components/infra_validator.py", "serving/proof", "serving/server"),
}

#: All code that decides what becomes of a run.
ALL_CODE = ("models", "pipeline", "serving")


@dataclass(frozen=True)
class RunPlan:
    """What `create_pipeline` needs beside the configuration.

    Attributes:
        span: label of the newest span; `""` for the newest there is; or TFX's RuntimeParameter
            that will say so when the compiled pipeline is started.
        root: folder or URI under which artifacts are written.
        code: digests of our code by what it decides: `ingest`, `schema`, `drift`, `gate`, `models`,
            `judge`, `proof`; each is part of the cache key of the nodes that run it.
        calibration: text of the drift thresholds' file; `""` if there is none.
        provenance: what the pushed model's manifest says of its making.
        metadata: ML Metadata's connection; None where the runner has its own (Vertex).
        cache: whether results of earlier runs may be reused.
        run_id: what the runner replaces by a run's id, where executors are not told it (Vertex).
    """

    span: Any
    root: str
    code: dict[str, str]
    provenance: dict[str, str]
    calibration: str = ""
    metadata: Any = field(default=None, compare=False)
    cache: bool = True
    run_id: str = ""


def plan_run(config: Config, *, span: Any, root: str, metadata: Any = None) -> RunPlan:
    """The plan of a run of this code with this configuration."""
    return RunPlan(
        span=span,
        root=root,
        code={
            name: provenance.code_digest(*code_reach.reach(*parts)) for name, parts in _CODE.items()
        },
        provenance={
            "config_sha256": config.digest(),
            "code_sha256": provenance.code_digest(*ALL_CODE),
            "inputs_sha256": outside.digest(config),
            "git_revision": provenance.git_revision(),
        },
        calibration=calibration.text(config),
        metadata=metadata,
    )
