"""The feature table's own rules."""

import pytest
from pydantic import ValidationError

from models.config import (
    Elapsed,
    Features,
    Ignore,
    ModelConfig,
    Numeric,
    Text,
    Timestamp,
    TrainingConfig,
    features_from_json,
    features_to_json,
    raw_columns,
)

FEATURES: Features = {
    "b": Text(kind="text"),
    "a": Numeric(kind="numeric", clip=(0, 1)),
    "t": Timestamp(kind="timestamp"),
    "e": Elapsed(kind="elapsed", start="t", end="t"),
    "i": Ignore(kind="ignore"),
}


def test_json_round_trip_keeps_order_and_types() -> None:
    again = features_from_json(features_to_json(FEATURES))
    assert again == FEATURES
    assert list(again) == list(FEATURES)


def test_only_features_with_a_column_are_asked_for() -> None:
    assert raw_columns(FEATURES) == {"b": "string", "a": "float", "t": "int"}


@pytest.mark.parametrize("clip", [(1, 1), (2, 1)])
def test_clip_must_be_an_interval(clip: tuple[float, float]) -> None:
    with pytest.raises(ValidationError, match="low < high"):
        Numeric(kind="numeric", clip=clip)
    with pytest.raises(ValidationError, match="low < high"):
        Elapsed(kind="elapsed", start="a", end="b", clip=clip)


def test_sections_survive_json() -> None:
    model = ModelConfig(hidden=(3, 2))
    assert ModelConfig.model_validate_json(model.model_dump_json()) == model
    training = TrainingConfig(epochs=2)
    assert TrainingConfig.model_validate_json(training.model_dump_json()) == training
    with pytest.raises(ValidationError, match="hiden"):
        ModelConfig.model_validate({"hiden": [1]})
