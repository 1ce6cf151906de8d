"""One version of a model: a SavedModel in a TF1 session, called by signature and alias.

Signatures run through `Session`, by tensor name, because that is what the stock server does:
`tf.saved_model.load` refuses models that it serves (reference variables, odd static shapes), and
checks shapes that it does not check. Calls go straight to the C layer with `RunOptions` of their
own: no Python check of shapes, the same error texts, a deadline per call, and a tenth of the cost.

This is the only module that runs TensorFlow's graphs; importing it loads TensorFlow.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.client import pywrap_tf_session
from tensorflow.python.saved_model import loader_impl

from serving.layout import SAVED_MODEL_FILES
from serving.server import memory, shapes
from serving.server.batching import BatchQueue, MakeQueue
from serving.server.errors import Code, ServingError
from serving.server.integrity import check_kinds
from serving.server.tensors import decode


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How sessions are made.

    Attributes:
        tags: of the MetaGraph to load.
        intra_op_threads: threads within an operation; 0 lets TensorFlow choose.
        inter_op_threads: operations at a time; 0 lets TensorFlow choose, and runs graphs that are
            done in no time in the thread that asks (see `_Pace`).
        soft_placement: whether operations pinned to an absent device run on the CPU.
    """

    tags: tuple[str, ...] = ("serve",)
    intra_op_threads: int = 0
    inter_op_threads: int = 0
    soft_placement: bool = False


class _Pace:
    """How long a signature's runs take, and so in whose threads the next one runs.

    TensorFlow hands operations to a pool, whose threads wait by spinning. Where a graph is done
    within a millisecond or two, and nobody else asks, that is about half of the processors' time,
    for nothing (benchmarks/session_threads.py). The first run, of which nothing is known, and long
    ones go to the pool: it runs operations side by side, and a deadline can break off a run there.
    """

    #: Runs that lately took less stay in their own thread.
    SHORT_SECONDS = 0.002
    #: Of the latest run in the average.
    _WEIGHT = 0.2

    __slots__ = ("_average",)

    def __init__(self) -> None:
        self._average = math.inf

    @property
    def is_short(self) -> bool:
        """Whether the next run is likely to be short."""
        return self._average < self.SHORT_SECONDS

    def took(self, seconds: float) -> None:
        """Told of each run. Two threads at once may lose one of them: it is an average."""
        old = self._average
        self._average = seconds if old == math.inf else old + self._WEIGHT * (seconds - old)


@dataclass(frozen=True, slots=True)
class _Plan:
    """A signature, resolved to the tensors of a graph."""

    feeds: Mapping[str, Any]  # alias -> TF_Output
    dtypes: Mapping[str, Any]  # alias of an input -> numpy dtype
    fetches: Mapping[str, Any]
    strings: frozenset[str]  # outputs that hold bytes
    pace: _Pace
    queue: BatchQueue | None
    rows: tuple[str, ...]  # inputs that have as many rows as each other


class LoadedModel:
    """A version that can answer. Thread-safe, many calls at a time.

    Attributes:
        name: of the model.
        version: its number.
        path: the folder it was loaded from.
        signatures: all of the MetaGraph, as they stand there.
        guard: is shown every request before it runs, and may refuse it; None: all run.
        checks_rows: whether one row beside several is refused.
    """

    def __init__(
        self,
        name: str,
        version: int,
        path: str,
        session: tf.compat.v1.Session,
        signatures: Mapping[str, meta_graph_pb2.SignatureDef],
        make_queue: MakeQueue | None = None,
        *,
        in_own_thread: bool = True,
    ) -> None:
        self.name = name
        self.version = version
        self.path = path
        self.signatures = signatures
        self.guard: Callable[[str, Mapping[str, np.ndarray]], None] | None = None
        self.checks_rows = True
        self._session = session
        self._make_queue = make_queue
        self._in_own_thread = in_own_thread
        self._plans: dict[str, _Plan] = {}
        self._defaults: dict[str, dict[str, np.ndarray]] = {}
        self._lock = threading.Lock()

    def run(
        self,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None = None,
        timeout: float | None = None,
    ) -> dict[str, np.ndarray]:
        """Runs a signature, through the batcher where batching is on.

        Args:
            signature: its name.
            inputs: alias -> array of the signature's dtype; strings are objects of `bytes`.
            outputs: aliases to compute; None for all.
            timeout: in seconds; None for no limit.

        Raises:
            ServingError: whatever the guard or the graph said; DEADLINE_EXCEEDED after `timeout`.
        """
        plan = self._plans.get(signature) or self._resolve(signature)
        if self.checks_rows and len(plan.rows) > 1:
            shapes.check_rows(plan.rows, inputs, self._defaults.get(signature, {}))
        if self.guard is not None:
            self.guard(signature, inputs)
        try:
            return self._outputs(plan, signature, inputs, outputs, timeout)
        except ServingError as error:
            misfits = shapes.misfits(self.signatures[signature], inputs)
            if error.code != Code.INVALID_ARGUMENT or not misfits:
                raise
            raise ServingError(error.code, f"{misfits} {error.message}") from None

    def _outputs(
        self,
        plan: _Plan,
        signature: str,
        inputs: Mapping[str, np.ndarray],
        outputs: Sequence[str] | None,
        timeout: float | None,
    ) -> dict[str, np.ndarray]:
        try:
            feeds = [plan.feeds[alias] for alias in inputs]
            wanted = list(plan.fetches) if outputs is None else list(outputs)
            fetches = [plan.fetches[alias] for alias in wanted]
        except KeyError as error:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"signature {signature} has no tensor alias {error}"
            ) from None
        arrays = list(inputs.values())
        if (
            plan.queue is not None
            and len(feeds) == len(plan.feeds)
            and len(wanted) == len(plan.fetches)
            # A wrong dtype must fail the request that has it, not its whole batch.
            and all(array.dtype == plan.dtypes[alias] for alias, array in inputs.items())
        ):
            ordered = [inputs[alias] for alias in plan.feeds]
            values = plan.queue.run(ordered, timeout)
            results = dict(zip(plan.fetches, values, strict=True))
            return {alias: results[alias] for alias in wanted}
        strings = plan.strings.intersection(wanted)
        values = self._run(feeds, arrays, fetches, strings, plan.pace, timeout)
        return dict(zip(wanted, values, strict=True))

    def defaults(self, signature: str) -> Mapping[str, np.ndarray]:
        """Values of inputs that a request may leave out, by alias; read-only.

        Raises:
            ServingError: a default is no tensor.
        """
        found = self._defaults.get(signature)
        if found is None:
            try:
                found = {
                    alias: decode(proto)
                    for alias, proto in self.signatures[signature].defaults.items()
                }
            except ValueError as error:
                raise ServingError(
                    Code.INTERNAL, f"a default in signature {signature}: {error}"
                ) from error
            self._defaults[signature] = found
        return found

    def close(self) -> None:
        """Frees the session's memory; the caller sees to it that nobody uses the version."""
        for plan in self._plans.values():
            if plan.queue is not None:
                plan.queue.close()
        self._plans = {}
        self._session.close()
        del self._session

    def _run(
        self,
        feeds: Sequence[Any],
        arrays: Sequence[np.ndarray],
        fetches: Sequence[Any],
        strings: object,
        pace: _Pace,
        timeout: float | None,
    ) -> list[np.ndarray]:
        options = None
        run_options = config_pb2.RunOptions()
        if timeout is not None:
            if timeout <= 0:
                raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the run.")
            run_options.timeout_in_ms = math.ceil(min(timeout, 1e9) * 1000)
        if self._in_own_thread and pace.is_short:
            run_options.inter_op_thread_pool = -1
        if run_options.ByteSize():
            options = pywrap_tf_session.TF_NewBufferFromString(run_options.SerializeToString())
        started = time.perf_counter()
        try:
            values = pywrap_tf_session.TF_SessionRun_wrapper(
                self._session._session,
                options,
                dict(zip(feeds, arrays, strict=True)),
                fetches,
                [],
                None,
            )
        except tf.errors.OpError as error:
            raise from_op_error(error) from None
        except UnicodeDecodeError as error:  # an error's text that quotes bytes from the request
            text = bytes(error.object).decode(errors="replace")
            raise ServingError(Code.INVALID_ARGUMENT, text) from None
        except (TypeError, ValueError) as error:  # an array that is no tensor
            raise ServingError(Code.INVALID_ARGUMENT, str(error)) from error
        finally:
            pace.took(time.perf_counter() - started)
            if options is not None:
                pywrap_tf_session.TF_DeleteBuffer(options)
        if strings:  # a lone string comes as bytes, of which numpy would make a dtype of its own
            return [
                np.array(value, object) if isinstance(value, bytes) else np.asarray(value)
                for value in values
            ]
        return [np.asarray(value) for value in values]

    def _resolve(self, signature: str) -> _Plan:
        definition = self.signatures.get(signature)
        if definition is None:
            raise ServingError(
                Code.FAILED_PRECONDITION, f'Serving signature key "{signature}" not found.'
            )
        with self._lock:
            plan = self._plans.get(signature)
            if plan is None:
                plan = self._plans[signature] = self._plan(definition)
            return plan

    def _plan(self, definition: meta_graph_pb2.SignatureDef) -> _Plan:
        feeds = {alias: self._tensor(info) for alias, info in definition.inputs.items()}
        fetches = {alias: self._tensor(info) for alias, info in definition.outputs.items()}
        dtypes = {
            alias: np.dtype(tf.dtypes.as_dtype(info.dtype).as_numpy_dtype)
            for alias, info in definition.inputs.items()
        }
        strings = frozenset(
            alias for alias, info in definition.outputs.items() if info.dtype == tf.string
        )
        pace = _Pace()
        queue = None
        if self._make_queue is not None and feeds:
            keys, values = list(feeds.values()), list(fetches.values())

            def run_batch(arrays: Sequence[np.ndarray], timeout: float | None) -> list[np.ndarray]:
                return self._run(keys, arrays, values, strings, pace, timeout)

            queue = self._make_queue(run_batch)
        rows = shapes.with_rows(definition.inputs)
        return _Plan(feeds, dtypes, fetches, strings, pace, queue, rows)

    def _tensor(self, info: meta_graph_pb2.TensorInfo) -> Any:
        try:
            return self._session.graph.get_tensor_by_name(info.name)._as_tf_output()
        except (KeyError, TypeError, ValueError) as error:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Tensor {info.name or 'without a name'}, specified in the signature, "
                f"cannot be fed or fetched: {error}",
            ) from error


def load(
    name: str,
    version: int,
    path: str,
    options: SessionOptions | None = None,
    make_queue: MakeQueue | None = None,
) -> LoadedModel:
    """Loads a version from its folder.

    Args:
        name: of the model.
        version: its number.
        path: the folder.
        options: of the session.
        make_queue: makes the queue in which a signature's requests are batched; None: they run one
            by one.

    Raises:
        ServingError: it is not there, not complete, or not a model for this machine.
    """
    options = options or SessionOptions()
    check_kinds(path)
    if not any(tf.io.gfile.exists(os.path.join(path, file)) for file in SAVED_MODEL_FILES):
        raise ServingError(
            Code.NOT_FOUND,
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}. "
            "Was it copied completely?",
        )
    config = config_pb2.ConfigProto(
        allow_soft_placement=options.soft_placement,
        intra_op_parallelism_threads=options.intra_op_threads,
        inter_op_parallelism_threads=options.inter_op_threads,
    )
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph, config=config)
    try:
        with graph.as_default():
            meta_graph = loader_impl.SavedModelLoader(path).load(session, list(options.tags))
        pywrap_tf_session.ExtendSession(session._session)
    except BaseException as error:
        session.close()
        raise _load_error(error, path) from error
    signatures = {key: meta_graph.signature_def[key] for key in sorted(meta_graph.signature_def)}
    memory.keep()
    own = not options.inter_op_threads
    return LoadedModel(name, version, path, session, signatures, make_queue, in_own_thread=own)


def from_op_error(error: tf.errors.OpError) -> ServingError:
    """What an operation of TensorFlow raised, as the servers report it."""
    return ServingError(Code(error.error_code or Code.UNKNOWN), error.message)


def _load_error(error: BaseException, path: str) -> Exception:
    if isinstance(error, ServingError):
        return error
    if isinstance(error, tf.errors.OpError):
        return from_op_error(error)
    if isinstance(error, OSError):  # absent or not parsable
        return ServingError(Code.NOT_FOUND, f"Cannot read the SavedModel in {path}: {error}")
    if isinstance(error, RuntimeError) and "tags" in str(error):
        return ServingError(
            Code.NOT_FOUND, f"Could not find meta graph def matching supplied tags: {error}"
        )
    if isinstance(error, ValueError):
        return ServingError(Code.FAILED_PRECONDITION, f"Cannot restore {path}: {error}")
    return ServingError(Code.INTERNAL, f"Loading {path} failed: {type(error).__name__}: {error}")
