"""Faults of the model: what goes wrong between healthy data and a pushed version."""

from __future__ import annotations

from pipeline.audit.fault import Fault, Gate


def _fault(name: str, story: str, *expected: Gate, escapes: str = "") -> Fault:
    return Fault(name, story, expected, escapes, sabotage=name)


MODEL_FAULTS = (
    # The first, because it takes longest.
    _fault(
        "slow-model",
        "Each request takes more than a tenth of a second.",
        "proof",
    ),
    _fault(
        "nan-weights",
        "Training diverged; the weights are not numbers.",
        "evaluation",
        "proof",
    ),
    _fault(
        "untrained",
        "Training was skipped, and the first weights were exported.",
        "evaluation",
    ),
    _fault(
        "labels-misjoined",
        "Labels were joined to the wrong rows before training.",
        "evaluation",
    ),
    _fault(
        "classes-swapped",
        "The export answers with the probability of the other class.",
        "evaluation",
    ),
    _fault(
        "overconfident",
        "The logits are three times too large: the ranking holds, the probabilities do not.",
        "evaluation",
    ),
    _fault(
        "miscalibrated",
        "All logits are 0.7 too high, as after training on resampled rows.",
        "evaluation",
    ),
    _fault(
        "serving-skew",
        "The exported graph transforms one input otherwise than training did.",
        "evaluation",
    ),
    _fault(
        "wrong-vocabulary",
        "The vocabulary files in the export are another version's.",
        "proof",
    ),
    _fault(
        "half-precision",
        "Somebody shrank the weights to bfloat16 on the way from the Trainer to the push.",
        "proof",
    ),
    _fault(
        "one-weight-changed",
        "One weight was changed after the Trainer had written the model.",
        "proof",
    ),
    _fault(
        "missing-variables",
        "The file of the variables is missing from the export.",
        "evaluation",
        "proof",
    ),
    _fault(
        "unservable-export",
        "The model was exported as TFX's template does, and Keras 3's variables are lost.",
        "proof",
    ),
    _fault(
        "python-in-the-graph",
        "A step of the exported graph calls Python, which only the Trainer's process has.",
        "proof",
    ),
    _fault(
        "wrong-dtype",
        "A signature declares another type than its clients send.",
        "evaluation",
        "proof",
    ),
    _fault(
        "missing-signature",
        "The Classify signature was forgotten in the export.",
        "proof",
    ),
    _fault(
        "stale-model",
        "The Trainer exported the model that is served already.",
        "pusher",
    ),
    _fault(
        "trained-on-evaluated-rows",
        "The newest span's rows were in the training set too.",
        escapes="Its metrics are only better than they should be. The compiled pipeline is proven "
        "to train on other splits than it evaluates on (tests/pipeline/flow), so it takes a "
        "Trainer that reads files it was not given; the next span's evaluation shows the "
        "difference.",
    ),
)
