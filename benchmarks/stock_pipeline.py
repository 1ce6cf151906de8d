"""The stock side of `benchmarks/stock.py`: TFX's own components around our `models`.

Built as TFX's taxi template builds its pipeline (`from tfx import v1`, LocalDagRunner, INFO log).
Defaults are left as they are, but for what the same work needs:

* The Trainer is given raw examples, as `models.training.run_fn` reads them; what Transform
  materializes by default is then read by nobody. `--lean` switches that and Transform's
  statistics off.
* TFMA's EvalConfig is ours: the same metrics, slices, signature and inference batch.
* Beam's runner is named, as by default Beam first looks for another one in the network.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

# This folder's `serving.py` must not be taken for the package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from models.config import features_to_json
from pipeline import config_file, evaluation
from pipeline.config import Config

_METADATA, _SERVING = "metadata.db", "serving"

# Not `pipeline.beam_options`: what that adds to the runner's name is ours, not stock.
_RUNNER = "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


#: Ours -> TFMA's own. It has nothing like AucError: the stock side computes one metric less.
_STOCK_METRICS = {
    "RankingAuc": "AUC",
    "LogLoss": "BinaryCrossentropy",
    "PredictionMean": "MeanPrediction",
    "LabelMean": "MeanLabel",
}


def create_pipeline(config: Config, data: str, output: str, *, lean: bool) -> Any:
    """The pipeline.

    Args:
        config: features, model, training and evaluation.
        data: folder with `train/*.csv` and `eval/*.csv`.
        output: folder for everything it writes.
        lean: Transform writes neither transformed examples nor their statistics.
    """
    from tfx import v1 as tfx

    features = {"features": features_to_json(config.features), "label": config.label.name}
    split = tfx.proto.Input.Split
    splits = [split(name=name, pattern=f"{name}/*.csv") for name in ("train", "eval")]
    example_gen = tfx.components.CsvExampleGen(
        input_base=data, input_config=tfx.proto.Input(splits=splits)
    )
    examples = example_gen.outputs["examples"]
    statistics_gen = tfx.components.StatisticsGen(examples=examples)
    statistics = statistics_gen.outputs["statistics"]
    # Without shapes: CsvExampleGen writes a missing value as an empty list, and the schema would
    # promise one value a row.
    schema_gen = tfx.components.SchemaGen(statistics=statistics, infer_feature_shape=False)
    schema = schema_gen.outputs["schema"]
    transform = tfx.components.Transform(
        examples=examples,
        schema=schema,
        preprocessing_fn="models.preprocessing.preprocessing_fn",
        custom_config=features,
        **({"materialize": False, "disable_statistics": True} if lean else {}),
    )
    trainer = tfx.components.Trainer(
        run_fn="models.training.run_fn",
        examples=examples,
        schema=schema,
        transform_graph=transform.outputs["transform_graph"],
        train_args=tfx.proto.TrainArgs(),
        eval_args=tfx.proto.EvalArgs(),
        custom_config={
            **features,
            "model": config.model.model_dump_json(),
            "training": config.training.model_dump_json(),
        },
    )
    champion = tfx.dsl.Resolver(
        strategy_class=tfx.dsl.experimental.LatestBlessedModelStrategy,
        model=tfx.dsl.Channel(type=tfx.types.standard_artifacts.Model),
        model_blessing=tfx.dsl.Channel(type=tfx.types.standard_artifacts.ModelBlessing),
    ).with_id("Champion")
    evaluator = tfx.components.Evaluator(
        examples=examples,
        model=trainer.outputs["model"],
        baseline_model=champion.outputs["model"],
        schema=schema,
        eval_config=_eval_config(config),
    )
    pusher = tfx.components.Pusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        push_destination=tfx.proto.PushDestination(
            filesystem=tfx.proto.PushDestination.Filesystem(
                base_directory=os.path.join(output, _SERVING)
            )
        ),
    )
    return tfx.dsl.Pipeline(
        pipeline_name="stock",
        pipeline_root=os.path.join(output, "artifacts"),
        components=[
            example_gen,
            statistics_gen,
            schema_gen,
            tfx.components.ExampleValidator(statistics=statistics, schema=schema),
            transform,
            trainer,
            champion,
            evaluator,
            pusher,
        ],
        enable_cache=True,
        metadata_connection_config=tfx.orchestration.metadata.sqlite_metadata_connection_config(
            os.path.join(output, _METADATA)
        ),
        beam_pipeline_args=[_RUNNER],
    )


def _eval_config(config: Config) -> Any:
    """What Headrace asks TFMA for, by TFMA's own metrics alone."""
    import tensorflow_model_analysis as tfma
    from google.protobuf import json_format

    asked = json.loads(evaluation.eval_config_json(config.evaluation, config.label.name))
    (spec,) = asked["metricsSpecs"]
    kept = []
    for metric in spec["metrics"]:
        if metric.pop("module", ""):
            if metric["className"] not in _STOCK_METRICS:
                continue
            metric["className"] = _STOCK_METRICS[metric["className"]]
        kept.append(metric)
    spec["metrics"] = kept
    return json_format.ParseDict(asked, tfma.EvalConfig())


def main() -> None:
    """Runs the pipeline once; the last line of standard output is JSON: where things are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, help="configuration that both sides share")
    parser.add_argument("--data", required=True, help="folder with train/*.csv and eval/*.csv")
    parser.add_argument("--output", required=True, help="folder for everything it writes")
    parser.add_argument("--lean", action="store_true", help="Transform materializes nothing")
    arguments = parser.parse_args()
    config = config_file.load(arguments.config)
    started = time.monotonic()
    from absl import logging
    from tfx import v1 as tfx

    imports = round(time.monotonic() - started, 2)
    logging.set_verbosity(logging.INFO)
    output = str(Path(arguments.output).resolve())
    tfx.orchestration.LocalDagRunner().run(
        create_pipeline(config, arguments.data, output, lean=arguments.lean)
    )
    places = {
        "metadata": os.path.join(output, _METADATA),
        "serving": os.path.join(output, _SERVING),
    }
    print(json.dumps({"imports": imports, **places}), flush=True)


if __name__ == "__main__":
    main()
