"""How a model is made: configuration, the TFX pipeline, its own components, the command line.

Nothing heavy is imported here: the command line answers before TensorFlow could be loaded.
"""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # TFX imports a custom artifact type by its type name, `pipeline.GateVerdict`.
    if name == "GateVerdict":
        from pipeline.components.gate_verdict import GateVerdict

        return GateVerdict
    if name == "DriftReport":
        from pipeline.components.drift_report import DriftReport

        return DriftReport
    if name == "RegisteredModel":
        from pipeline.components.registered_model import RegisteredModel

        return RegisteredModel
    raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
