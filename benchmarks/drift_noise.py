"""How far the newest span lies from its window, feature by feature, on the committed data.

This is where the drift thresholds of `schema/schema.pbtxt` come from: it prints TFDV's own
distance (Jensen-Shannon divergence for numbers, L-infinity for categories) of each span from the
twelve spans before it, and 1.5 times the largest over the spans named by --quiet.

    python benchmarks/drift_noise.py --quiet 2019-01:2020-02
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

# This folder's `serving.py` must not be taken for the package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline import config_file, schema_file, spans
from pipeline.config import Config
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import IngestPlan, shards

ROOT = Path(__file__).resolve().parent.parent


def distances(
    newest: statistics_pb2.DatasetFeatureStatisticsList,
    window: statistics_pb2.DatasetFeatureStatisticsList,
    schema: schema_pb2.Schema,
) -> dict[str, float]:
    """TFDV's drift distance of every feature that the schema gives a comparator."""
    found = tfdv.validate_statistics(newest, schema, previous_statistics=window)
    return {
        ".".join(info.path.step): info.drift_measurements[0].value
        for info in found.drift_skew_info
        if info.drift_measurements
    }


def with_comparators(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """The schema with a comparator on every feature, the kind that fits its type."""
    full = schema_pb2.Schema()
    full.CopyFrom(schema)
    for feature in full.feature:
        feature.ClearField("drift_comparator")
        comparator = feature.drift_comparator
        if feature.type == schema_pb2.BYTES or feature.int_domain.is_categorical:
            comparator.infinity_norm.threshold = 1e-9
        else:
            comparator.jensen_shannon_divergence.threshold = 1e-9
    return full


def statistics(
    config: Config, window: spans.Window, schema: schema_pb2.Schema
) -> tuple[statistics_pb2.DatasetFeatureStatisticsList, ...]:
    """Statistics of a window's train and eval rows, after ingestion as in a run."""
    plan = IngestPlan.of(config)
    options = tfdv.StatsOptions(schema=schema)
    with tempfile.TemporaryDirectory() as output:
        for split in ("train", "eval", "quarantine"):
            Path(output, f"Split-{split}").mkdir()
        for shard in shards(window):
            report = shard_work.ingest(shard, plan, output)
            if report.error:
                raise SystemExit(report.error)
        return tuple(
            tfdv.generate_statistics_from_tfrecord(
                f"{output}/Split-{split}/*.gz", stats_options=options
            )
            for split in ("train", "eval")
        )


def main() -> None:
    """Prints the table, and JSON on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default=str(ROOT / "headrace.toml"))
    parser.add_argument("--quiet", default="2019-01:2020-02", help="spans FIRST:LAST to measure")
    parser.add_argument("--json", help="write the figures to this file")
    arguments = parser.parse_args()
    config = config_file.load(arguments.config)
    schema = with_comparators(schema_file.read(config.data.schema_file))
    first, last = arguments.quiet.split(":")
    found = spans.discover(config.data.path, spans.SpanPattern.parse(config.data.pattern))
    table: dict[str, dict[str, float]] = {}
    for item in found:
        if not first <= item.span.label <= last:
            continue
        window = spans.choose_window(
            found,
            newest=item.span.label,
            train_spans=config.window.train_spans,
            eval_spans=1,
            gap=config.window.gap,
        )
        train, newest = statistics(config, window, schema)
        table[item.span.label] = distances(newest, train, schema)
        print(item.span.label, "measured", flush=True)
    show(table)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(table, indent=2), encoding="utf-8")


def show(table: dict[str, dict[str, float]]) -> None:
    """One row a feature: distances by span, the largest, and 1.5 times it."""
    features: list[str] = sorted({name for row in table.values() for name in row})
    print(f"{'feature':<24}" + "".join(f"{span:>9}" for span in table) + f"{'max':>9}{'x1.5':>9}")
    for name in features:
        values: list[Any] = [row.get(name, 0.0) for row in table.values()]
        cells = "".join(f"{value:9.4f}" for value in values)
        print(f"{name:<24}{cells}{max(values):9.4f}{1.5 * max(values):9.4f}")


if __name__ == "__main__":
    main()
