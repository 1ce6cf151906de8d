"""Our messages are those of tensorflow-serving-api on the wire."""

import subprocess
import sys

import pytest
from google.protobuf import message_factory

from serving.client import messages

pytest.importorskip("tensorflow_serving")


@pytest.fixture(scope="module")
def theirs():
    """Every message of the package, by full name."""
    from tensorflow_serving.apis import (  # noqa: F401
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_management_pb2,
        predict_pb2,
    )

    pool = predict_pb2.PredictRequest.DESCRIPTOR.file.pool
    return pool.FindMessageTypeByName, pool.FindEnumTypeByName


@pytest.mark.parametrize("name", sorted(messages.MESSAGES))
def test_each_field_has_the_package_s_number_type_and_label(theirs, name):
    ours, real = messages._pool().FindMessageTypeByName(name), theirs[0](name)
    for field in ours.fields:
        other = real.fields_by_name[field.name]
        assert (field.number, field.type, field.is_repeated) == (
            other.number,
            other.type,
            other.is_repeated,
        )
        kind, other_kind = field.message_type, other.message_type
        if kind is not None and not kind.GetOptions().map_entry:
            assert kind.full_name == other_kind.full_name
        if field.enum_type is not None:
            assert field.enum_type.full_name == other.enum_type.full_name


@pytest.mark.parametrize("name", sorted(messages.ENUMS))
def test_each_value_has_the_package_s_number(theirs, name):
    real = theirs[1](name)
    for value, number in messages.ENUMS[name].items():
        assert real.values_by_name[value].number == number


def test_a_models_config_has_no_field_that_would_get_lost(theirs):
    for name in messages.MESSAGES:
        if "ModelConfig" in name or "ServableVersionPolicy" in name:
            real = {field.name for field in theirs[0](name).fields}
            assert real - set(messages.MESSAGES[name]) <= {"logging_config", "custom_model_config"}


def test_what_one_side_writes_the_other_reads(theirs):
    request = messages.message("PredictRequest")()
    request.model_spec.name = "m"
    request.model_spec.version.value = 0
    request.inputs["x"].dtype = 1
    request.inputs["x"].float_val.extend([1.0, 2.5])
    real = message_factory.GetMessageClass(theirs[0]("tensorflow.serving.PredictRequest"))
    read = real.FromString(request.SerializeToString())
    assert read.model_spec.HasField("version")
    assert list(read.inputs["x"].float_val) == [1.0, 2.5]
    again = messages.message("PredictRequest").FromString(read.SerializeToString())
    assert again == request


def test_threads_and_the_garbage_collector_can_share_the_classes() -> None:
    # In a process of its own: what this guards against is a segmentation fault.
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", _THREADS],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


# epoll objects let other threads run while the collector frees them.
_THREADS = """
import gc, select, sys, threading, time
from serving.client import messages
sys.setswitchinterval(1e-5)
end = time.monotonic() + 3
def ask():
    while time.monotonic() < end:
        request = messages.message("GetModelStatusRequest")()
        request.model_spec.name = "taxi"
        del request
def collect():
    while time.monotonic() < end:
        for _ in range(5):
            cycle = [select.epoll() for _ in range(10)] if hasattr(select, "epoll") else []
            cycle.append(cycle)
        gc.collect()
        time.sleep(0.0005)
threads = [threading.Thread(target=one) for one in (ask, ask, ask, ask, collect)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
