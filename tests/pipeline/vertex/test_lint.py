"""Every way to break a compiled job has a finding of its own; the job as compiled has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.tfx

Job = dict[str, Any]


def tasks(job: Job) -> Job:
    return job["pipelineSpec"]["root"]["dag"]["tasks"]


def component(job: Job, name: str) -> Job:
    return job["pipelineSpec"]["components"][name]


def executors(job: Job) -> Job:
    return job["pipelineSpec"]["deploymentSpec"]["executors"]


def container(job: Job, name: str) -> Job:
    return executors(job)[f"{name}_executor"]["container"]


def artifact(job: Job, task: str, key: str) -> Job:
    return tasks(job)[task]["inputs"]["artifacts"][key]["taskOutputArtifact"]


def parameters(job: Job, task: str) -> Job:
    return tasks(job)[task]["inputs"]["parameters"]


def condition(text: str) -> Callable[[Job], None]:
    return lambda job: tasks(job)["Pusher"]["triggerPolicy"].update(condition=text)


def argument(job: Job, task: str, flag: str, value: str) -> None:
    arguments = container(job, task)["args"]
    arguments[arguments.index(flag) + 1] = value


def root_parameter(job: Job) -> Job:
    return job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]["span"]


PASSED = "inputs.artifacts['_DataGate.verdict'].artifacts[0].metadata['passed']"

#: What is broken → (how, the check that must say so, what its message must hold).
MUTANTS: dict[str, tuple[Callable[[Job], Any], str, str]] = {
    "an unknown field of the job": (lambda j: j.update(speed=11), "protos", "speed"),
    "an unknown field of the spec": (
        lambda j: j["pipelineSpec"].update(colour="red"),
        "protos",
        "colour",
    ),
    "an unknown field of an executor": (
        lambda j: container(j, "Trainer").update(imag="x"),
        "protos",
        "imag",
    ),
    "a field of another type": (
        lambda j: tasks(j)["Trainer"].update(dependentTasks="Transform"),
        "protos",
        "dependentTasks",
    ),
    "no spec at all": (lambda j: j.pop("pipelineSpec"), "protos", "pipelineSpec"),
    "a component that is not there": (
        lambda j: tasks(j)["Trainer"]["componentRef"].update(name="Trainr"),
        "component-ref",
        "'Trainr'",
    ),
    "an executor that is not there": (
        lambda j: component(j, "Trainer").update(executorLabel="gone"),
        "executor-label",
        "'gone'",
    ),
    "a task under another name": (
        lambda j: tasks(j)["Trainer"]["taskInfo"].update(name="Other"),
        "task-name",
        "'Other'",
    ),
    "a producer that is not there": (
        lambda j: artifact(j, "Trainer", "examples").update(producerTask="CsvExampleGen"),
        "producer",
        "'CsvExampleGen'",
    ),
    "an output that is not there": (
        lambda j: artifact(j, "Trainer", "examples").update(outputArtifactKey="rows"),
        "producer-output",
        "its outputs: examples",
    ),
    "an artifact of another type": (
        lambda j: artifact(j, "Trainer", "examples").update(
            producerTask="ImportSchemaGen", outputArtifactKey="schema"
        ),
        "artifact-type",
        "tfx.Examples",
    ),
    "waiting for a task that is not there": (
        lambda j: tasks(j)["Trainer"]["dependentTasks"].append("Tuner"),
        "dependent-task",
        "'Tuner'",
    ),
    "not waiting for a producer": (
        lambda j: tasks(j)["Evaluator"]["dependentTasks"].remove("Trainer"),
        "dependent-task",
        "does not wait",
    ),
    "a circle": (
        lambda j: tasks(j)["Transform"]["dependentTasks"].append("Pusher"),
        "cycle",
        "wait for each other",
    ),
    "an input artifact too many": (
        lambda j: tasks(j)["Transform"]["inputs"]["artifacts"].update(
            extra={
                "taskOutputArtifact": {
                    "producerTask": "SpanExampleGen",
                    "outputArtifactKey": "examples",
                }
            }
        ),
        "undeclared-artifact",
        "'extra'",
    ),
    "an input artifact too few": (
        lambda j: tasks(j)["Trainer"]["inputs"]["artifacts"].pop("schema"),
        "missing-artifact",
        "'schema'",
    ),
    "a parameter too many": (
        lambda j: parameters(j, "DataGate").update(x={"runtimeValue": {"constant": "1"}}),
        "undeclared-parameter",
        "'x'",
    ),
    "a parameter too few": (
        lambda j: parameters(j, "DataGate").pop("policies"),
        "missing-parameter",
        "'policies'",
    ),
    "a number for a text": (
        lambda j: parameters(j, "DataGate")["code"]["runtimeValue"].update(constant=7),
        "parameter-type",
        "must be STRING",
    ),
    "a text for a number": (
        lambda j: component(j, "DataGate")["inputDefinitions"]["parameters"]["code"].update(
            parameterType="NUMBER_INTEGER"
        ),
        "parameter-type",
        "must be NUMBER_INTEGER",
    ),
    "a runtime parameter that is not declared": (
        lambda j: parameters(j, "SpanExampleGen")["span"].update(componentInputParameter="month"),
        "runtime-parameter",
        "'month'",
    ),
    "a runtime parameter of another type": (
        lambda j: root_parameter(j).update(parameterType="NUMBER_INTEGER", defaultValue=1),
        "parameter-type",
        "must be STRING, and runtime parameter",
    ),
    "a runtime parameter without a value": (
        lambda j: (
            root_parameter(j).pop("defaultValue"),
            j["runtimeConfig"].pop("parameterValues"),
        ),
        "runtime-parameter",
        "has no value",
    ),
    "a value for no runtime parameter": (
        lambda j: j["runtimeConfig"]["parameterValues"].update(spam="2019-12"),
        "runtime-parameter",
        "'spam'",
    ),
    "a placeholder Vertex does not know": (
        lambda j: parameters(j, "Pusher")["run_id"]["runtimeValue"].update(constant="{{$.run}}"),
        "placeholder",
        "{{$.run}}",
    ),
    "a title without a namespace": (
        lambda j: component(j, "DataGate")["outputDefinitions"]["artifacts"]["verdict"][
            "artifactType"
        ].update(instanceSchema="title: GateVerdict\ntype: object\n"),
        "schema-title",
        "'GateVerdict'",
    ),
    "an artifact type that is not YAML": (
        lambda j: component(j, "DataGate")["outputDefinitions"]["artifacts"]["verdict"][
            "artifactType"
        ].update(instanceSchema="title: [pipeline"),
        "artifact-schema",
        "is not YAML",
    ),
    "an artifact type that cannot be imported": (
        lambda j: component(j, "DataGate")["outputDefinitions"]["artifacts"]["verdict"][
            "artifactType"
        ].update(instanceSchema="title: pipeline.Verdict\ntype: object\n"),
        "import",
        "pipeline.Verdict",
    ),
    "a pipeline's name with capitals": (
        lambda j: j["pipelineSpec"]["pipelineInfo"].update(name="Nyc_Yellow"),
        "pipeline-name",
        "'Nyc_Yellow'",
    ),
    "a display name too long": (
        lambda j: j.update(displayName="x" * 129),
        "display-name",
        "129",
    ),
    "an older schema version": (
        lambda j: j["pipelineSpec"].update(schemaVersion="2.0.0"),
        "schema-version",
        "'2.0.0'",
    ),
    "a root that is no bucket": (
        lambda j: j["runtimeConfig"].update(gcsOutputDirectory="/tmp/root"),
        "root",
        "/tmp/root",
    ),
    "a label's name with a capital": (lambda j: j["labels"].update(Team="x"), "labels", "'Team'"),
    "a label's value with a blank": (
        lambda j: j["labels"].update(team="our team"),
        "labels",
        "'our team'",
    ),
    "labels too many": (
        lambda j: j["labels"].update({f"label{i}": "x" for i in range(65)}),
        "labels",
        "64 are allowed",
    ),
    "a condition that does not parse": (
        condition(f"({PASSED} === 1.0"),
        "condition",
        "does not parse",
    ),
    "a condition on an input it lacks": (
        condition(PASSED.replace("_DataGate.verdict", "verdict") + " == 1.0"),
        "condition",
        "'verdict', not given",
    ),
    "a condition that is no truth value": (condition(PASSED), "condition", "no truth value"),
    "a condition turned round": (
        condition(f"({PASSED} == 0.0)"),
        "condition-meaning",
        "DataGate.verdict's passed is 0, it runs on Vertex",
    ),
    "a condition that lets too much pass": (
        condition(f"({PASSED} > 0.0)"),
        "condition-meaning",
        "passed is 2",
    ),
    "a condition on another property": (
        condition(f"({PASSED.replace('passed', 'retrain')} == 1.0)"),
        "condition-meaning",
        "",
    ),
    "no condition": (
        lambda j: tasks(j)["Trainer"].pop("triggerPolicy"),
        "condition-meaning",
        "it runs on Vertex and does not run here",
    ),
    "an executor that cannot be imported": (
        lambda j: argument(j, "DataGate", "--executor_class_path", "pipeline.gate.Executor"),
        "import",
        "No module named 'pipeline.gate'",
    ),
    "a function that cannot be imported": (
        lambda j: parameters(j, "Trainer")["run_fn"]["runtimeValue"].update(
            constant="models.training.run"
        ),
        "import",
        "models.training.run",
    ),
    "an image without a version": (
        lambda j: container(j, "Trainer").update(image="repo/pipeline"),
        "image",
        "names no version",
    ),
    "another command": (
        lambda j: container(j, "Trainer").update(command=["python", "train.py"]),
        "command",
        "train.py",
    ),
    "inputs that are not handed over": (
        lambda j: argument(j, "Trainer", "--json_serialized_invocation_args", "{}"),
        "command",
        "{{$}}",
    ),
    "inputs told otherwise": (
        lambda j: argument(j, "Trainer", "--json_serialized_inputs_spec_args", "{}"),
        "command",
        "other inputs than the component declares",
    ),
    "a machine too big": (
        lambda j: container(j, "Trainer")["resources"].update(cpuLimit=512.0),
        "resources",
        "512",
    ),
    "an accelerator without a count": (
        lambda j: container(j, "Trainer")["resources"]["accelerator"].pop("count"),
        "resources",
        "no type or count",
    ),
    "retries too many": (
        lambda j: tasks(j)["Trainer"]["retryPolicy"].update(maxRetryCount=99),
        "retries",
        "99",
    ),
    "a query that cannot be read": (
        lambda j: executors(j)["Champion-model-resolver_executor"]["resolver"][
            "outputArtifactQueries"
        ]["model"].update(filter='schema_title="tfx.Model" OR name="x"'),
        "filter",
        "needs AND",
    ),
    "a query on an input it lacks": (
        lambda j: tasks(j)["Champion-model-resolver"].pop("inputs"),
        "filter",
        "'input', not given",
    ),
    "a cache that knows nothing of the files": (
        lambda j: tasks(j)["SpanExampleGen"].update(cachingOptions={"enableCache": True}),
        "cache",
        "does not run on Vertex",
    ),
    "a path of this machine": (
        lambda j: parameters(j, "ImportSchemaGen")["schema_file"]["runtimeValue"].update(
            constant=__file__
        ),
        "local-path",
        "test_lint.py",
    ),
    "another Python": (
        lambda j: j["labels"].update(tfx_py_version="3-8"),
        "python",
        "Python 3.8",
    ),
}


def test_the_job_as_compiled_has_no_finding(job: Job, pipeline: Any) -> None:
    from pipeline.vertex.lint import image, run

    assert run.lint(job, pipeline=pipeline, manifest=image.describe()) == []


@pytest.mark.parametrize("name", MUTANTS)
def test_a_broken_job_has_its_finding(job: Job, pipeline: Any, name: str) -> None:
    from pipeline.vertex.lint.run import lint

    mutate, check, fragment = MUTANTS[name]
    mutate(job)
    found = lint(job, pipeline=pipeline)
    named = [finding for finding in found if finding.check == check]
    assert any(fragment in finding.message for finding in named), [str(f) for f in found]
    assert all(finding.remedy.endswith((".", "}")) for finding in found)


def test_findings_name_the_node(job: Job, pipeline: Any) -> None:
    from pipeline.vertex.lint.run import lint

    tasks(job)["Trainer"]["dependentTasks"].remove("Transform")
    (found,) = lint(job, pipeline=pipeline)
    assert str(found).startswith("Trainer: it takes an input from Transform")


@pytest.mark.parametrize(
    "change, check",
    [
        ({"python": "3.8.1"}, "image-python"),
        ({"lock_sha256": "0"}, "image-lock"),
        ({"code_sha256": "0"}, "image-code"),
        ({"tfx": "1.20.0"}, "image-tfx"),
    ],
)
def test_an_image_of_something_else(job: Job, change: dict[str, str], check: str) -> None:
    from pipeline.vertex.lint import image

    (found,) = image.check(job, {**image.describe(), **change})
    assert found.check == check and "image" in found.remedy


WORKERS = "europe-west4-docker.pkg.dev/my-project/headrace/worker:1"


@pytest.fixture(scope="module")
def on_dataflow(configure: Any) -> str:
    from pipeline.vertex.compile import compile_job

    return json.dumps(
        compile_job(
            configure(
                beam={"runner": "dataflow"},
                vertex={"dataflow": {"image": WORKERS}, "service_account": ""},
            )
        )
    )


@pytest.mark.parametrize(
    "workers, told",
    [
        (WORKERS, None),
        (None, "names no image for Dataflow's workers"),
        ("none", "names no image for Dataflow's workers"),
        (
            "europe-west4-docker.pkg.dev/my-project/headrace/pipeline:1",
            "does not start as a worker",
        ),
        (WORKERS.replace(":1", ":latest"), "names no version"),
    ],
)
def test_dataflow_workers_need_an_image_of_their_own(
    on_dataflow: str, workers: str | None, told: str | None
) -> None:
    from pipeline.vertex.lint.executors import check

    flag = f"--sdk_container_image={WORKERS}"
    job: Job = json.loads(on_dataflow)
    arguments = container(job, "StatisticsGen")["args"]
    assert flag in arguments
    at = arguments.index(flag)
    arguments[at : at + 1] = [] if workers is None else [f"--sdk_container_image={workers}"]
    found = list(check(job))
    assert [each.check for each in found] == (["workers"] if told else [])
    if told:
        assert found[0].node == "StatisticsGen" and told in found[0].message
        assert "vertex.dataflow.image" in found[0].remedy


def test_packages_that_differ_are_named(job: Job) -> None:
    from pipeline.vertex.lint import image

    here = image.describe()
    there = {**here["packages"], "numpy": "1.0.0", "only-there": "2"}
    (found,) = image.check(job, {**here, "lock_sha256": "0", "packages": there})
    assert f"(numpy 1.0.0 there, {here['packages']['numpy']} here; only-there 2" in found.message


def test_an_image_says_what_it_was_built_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import provenance
    from pipeline.vertex.lint import image

    manifest = image.written("abc+dirty")
    assert manifest["packages"]["tfx"] == manifest["tfx"]
    assert len(manifest["lock_sha256"]) == 64
    (tmp_path / "image.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.git_revision() == "abc+dirty"


def test_a_cache_of_the_stock_nodes_stays_on(job: Job) -> None:
    cached = {name for name, task in tasks(job).items() if task.get("cachingOptions")}
    assert {"StatisticsGen", "Transform", "Trainer", "Evaluator"} <= cached
    # What these read lies outside, and may be edited between compiling and running.
    outside = {"SpanExampleGen", "ImportSchemaGen", "DistributionValidator", "InfraValidator"}
    assert not cached & {*outside, "Pusher"}


def test_another_python_is_asked(job: Job) -> None:
    import sys

    from pipeline.vertex.lint import imports

    # A class of ours that loads no TFX: what is asked for is the answer of another process.
    answer = imports._ask(sys.executable, ["pipeline.errors.RunError", "nowhere.Class"])
    assert answer["pipeline.errors.RunError"] == ""
    assert answer["nowhere.Class"].startswith("ModuleNotFoundError")
