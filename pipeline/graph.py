"""The flow, from raw spans to a pushed model. The same for every runner."""

from __future__ import annotations

from tfx import components
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.experimental.conditionals.conditional import Cond
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2, transform_pb2
from tfx.types import Channel, standard_artifacts

from models.config import features_to_json
from pipeline.beam_options import beam_arguments
from pipeline.components.data_gate import DataGate
from pipeline.components.distribution_validator import DistributionValidator
from pipeline.components.evaluator import Evaluator
from pipeline.components.infra_validator import InfraValidator
from pipeline.components.pusher import AtomicPusher
from pipeline.components.reviewed_schema import ReviewedSchema
from pipeline.components.span_example_gen import SpanExampleGen
from pipeline.components.vertex_registrar import VertexRegistrar
from pipeline.config import Config
from pipeline.run_plan import RunPlan


def create_pipeline(config: Config, plan: RunPlan) -> Pipeline:
    """Builds the pipeline.

    Args:
        config: what a user decides.
        plan: what a run adds: span, root, metadata connection, digests.
    """
    examples = SpanExampleGen(config, span=plan.span, code=plan.code["ingest"])
    rows = examples.outputs["examples"]
    schema = ReviewedSchema(config, code=plan.code["schema"])
    statistics = components.StatisticsGen(
        examples=rows, schema=schema.outputs["schema"], exclude_splits=["quarantine"]
    )
    anomalies = components.ExampleValidator(
        statistics=statistics.outputs["statistics"],
        schema=schema.outputs["schema"],
        exclude_splits=["quarantine"],
    )
    champion = Resolver(
        strategy_class=LatestBlessedModelStrategy,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
    ).with_id("Champion")
    drift = DistributionValidator(
        config,
        examples=rows,
        schema=schema.outputs["schema"],
        champion_model=champion.outputs["model"],
        calibration=plan.calibration,
        code=plan.code["drift"],
    )
    gate = DataGate(
        config,
        examples=rows,
        anomalies=anomalies.outputs["anomalies"],
        schema=schema.outputs["schema"],
        drift=drift.outputs["drift"],
        code=plan.code["gate"],
    )

    # Everything below runs only if the gate let the data pass.
    passed = gate.outputs["verdict"].future()[0].custom_property("passed") == 1
    with Cond(passed):
        features = {"features": features_to_json(config.features), "label": config.label.name}
        transform = components.Transform(
            examples=rows,
            schema=schema.outputs["schema"],
            preprocessing_fn="models.preprocessing.preprocessing_fn",
            splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train"]),
            custom_config={**features, "code": plan.code["models"]},
            # The Trainer applies the transform graph in large batches itself: writing
            # transformed rows one by one takes longer than training on them.
            materialize=False,
            disable_statistics=True,
            # It would be written for a later run to read, and no later run has the same window.
            disable_analyzer_cache=True,
        )
        trainer = components.Trainer(
            run_fn="models.training.run_fn",
            examples=rows,
            schema=schema.outputs["schema"],
            transform_graph=transform.outputs["transform_graph"],
            train_args=trainer_pb2.TrainArgs(splits=["train"]),
            eval_args=trainer_pb2.EvalArgs(splits=["eval"]),
            custom_config={
                **features,
                "model": config.model.model_dump_json(),
                "training": config.training.model_dump_json(),
                "code": plan.code["models"],
            },
        )
        proof = InfraValidator(
            config.proof, model=trainer.outputs["model"], code=plan.code["proof"]
        )
        evaluator = Evaluator(
            config,
            examples=rows,
            model=trainer.outputs["model"],
            baseline_model=champion.outputs["model"],
            schema=schema.outputs["schema"],
            code=plan.code["judge"],
        )
        pusher = AtomicPusher(
            model=trainer.outputs["model"],
            model_blessing=evaluator.outputs["blessing"],
            infra_blessing=proof.outputs["blessing"],
            evaluation=evaluator.outputs["evaluation"],
            examples=rows,
            schema=schema.outputs["schema"],
            base_path=config.serving.path,
            model_name=config.serving.model_name,
            keep_versions=config.serving.keep_versions,
            provenance=plan.provenance,
            run_id=plan.run_id,
        )
        registrar = (
            VertexRegistrar(config.vertex, pushed_model=pusher.outputs["pushed_model"])
            if registers(config)
            else None
        )

    return _pipeline(
        config,
        plan,
        [
            examples,
            schema,
            statistics,
            anomalies,
            champion,
            drift,
            gate,
            transform,
            trainer,
            proof,
            evaluator,
            pusher,
            *([registrar] if registrar else []),
        ],
    )


def registers(config: Config) -> bool:
    """Whether what is pushed goes to Vertex's model registry too.

    It reads buckets only: a run that pushes to this disk, from a configuration that does for both,
    has nothing to register.
    """
    return bool(config.vertex.registry.model) and config.serving.path.startswith("gs://")


def create_schema_pipeline(config: Config, plan: RunPlan) -> Pipeline:
    """The first run on new data: only as far as a schema that a person can review."""
    examples = SpanExampleGen(config, span=plan.span, code=plan.code["ingest"])
    statistics = components.StatisticsGen(
        examples=examples.outputs["examples"], exclude_splits=["quarantine"]
    )
    schema = components.SchemaGen(
        statistics=statistics.outputs["statistics"], infer_feature_shape=False
    )
    return _pipeline(config, plan, [examples, statistics, schema])


def _pipeline(config: Config, plan: RunPlan, nodes: list[BaseNode]) -> Pipeline:
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=plan.root,
        components=nodes,
        enable_cache=plan.cache,
        metadata_connection_config=plan.metadata,
        beam_pipeline_args=beam_arguments(config.beam),
    )
