"""Beam with a memory answers as Beam without one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.tfx

# In a process of its own: what is remembered stays for as long as the process lives.
SCRIPT = """
import inspect, json, sys
import apache_beam as beam
from apache_beam.options.pipeline_options import (
    DebugOptions, PipelineOptions, StandardOptions, WorkerOptions)
from apache_beam.transforms import userstate
from apache_beam.typehints import decorators
from apache_beam.coders import VarIntCoder

if "remember" in sys.argv:
    from pipeline.local import beam_memory
    assert beam_memory.remember() and beam_memory.remember()

class Stateful(beam.DoFn):
    count = userstate.ReadModifyWriteStateSpec("count", VarIntCoder())
    def process(self, item, count=beam.DoFn.StateParam(count)):
        yield item

class Plain(beam.DoFn):
    def process(self, item, twice=2):
        yield item

told = []
for _ in range(2):
    options = PipelineOptions(["--runner=DirectRunner", "--experiments=a", "--streaming"])
    options.view_as(DebugOptions).add_experiment("b")
    options.view_as(WorkerOptions).num_workers = 7
    told += [
        options.view_as(DebugOptions).experiments,
        options.view_as(StandardOptions).streaming,
        options.view_as(WorkerOptions).num_workers,
        sorted(options.get_all_options(drop_default=True).items()),
        PipelineOptions(["--runner=A"], streaming=True).view_as(StandardOptions).streaming,
        str(decorators.get_signature(Plain().process)),
        str(decorators.get_signature(Plain.process)),
        str(decorators.get_signature(str.strip)),
        sorted(spec.name for spec in userstate.get_dofn_specs(Stateful())[0]),
        [len(specs) for specs in userstate.get_dofn_specs(Plain())],
    ]
with beam.Pipeline(options=PipelineOptions(["--runner=DirectRunner"])) as pipeline:
    words = pipeline | beam.Create(["a", "b", "a"]) | beam.ParDo(Plain())
    words | beam.combiners.Count.PerElement() | beam.Map(lambda item: told.append(list(item)))
print(json.dumps(sorted(told, key=str)))
"""


def run(*arguments: str) -> list:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_remembering_changes_no_answer() -> None:
    assert run("remember") == run()


def test_another_version_of_beam_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    import apache_beam
    from apache_beam.typehints import decorators

    from pipeline.local import beam_memory

    before = decorators.get_signature
    monkeypatch.setattr(apache_beam, "__version__", "9.9.9")
    assert beam_memory.remember() is False
    assert decorators.get_signature is before
