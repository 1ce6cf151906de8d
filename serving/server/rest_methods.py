"""What the REST methods do, from a body to the text of an answer; no transport, no event loop."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from serving.server.errors import Code, ServingError
from serving.server.json_tensors import read_predict
from serving.server.json_text import parse
from serving.server.json_values import rendered, type_name
from serving.server.rest_body import Body
from serving.server.rest_routes import METADATA, Route

if TYPE_CHECKING:
    from serving.server.catalog import Catalog
    from serving.server.metrics import Metrics
    from serving.server.request_log import RequestLog
    from serving.server.saved_model import LoadedModel

_DEFAULT_SIGNATURE = "serving_default"


class Answer(NamedTuple):
    """What a method has to say.

    Attributes:
        text: the JSON of a success.
        version: that answered or refused; None: it did not come to that.
        error: what a version refused the request with.
    """

    text: str
    version: int | None = None
    error: ServingError | None = None


class RestMethods:
    """The methods over a catalog. Thread-safe."""

    def __init__(
        self, catalog: Catalog, metrics: Metrics, request_log: RequestLog | None = None
    ) -> None:
        self.catalog = catalog
        self.metrics = metrics
        self._log = request_log
        # Model -> signature -> alias -> dtype: reading them from the protos takes longer than a
        # small request does otherwise.
        self._dtypes: WeakKeyDictionary[LoadedModel, dict[str, dict[str, str]]] = (
            WeakKeyDictionary()
        )

    def run(self, route: Route, body: Body, deadline: float | None) -> Answer:
        """Answers a request for anything but the status.

        Args:
            route: what is asked for.
            body: of the request.
            deadline: when to give up, on the clock `time.monotonic`.

        Raises:
            ServingError: the request names no version that could have answered, or is no JSON.
        """
        if route.method == METADATA:
            return self._metadata(route)
        document = parse(body.take(), deadline)
        if type(document) is not dict:
            raise _invalid(
                f"JSON Value: {rendered(document)} Type: {type_name(document)} Is not object"
            )
        signature = document.get("signature_name", "")
        if type(signature) is not str:
            raise _invalid("'signature_name' key must be a string value.")
        if route.method == "predict":
            return self._predict(route, document, signature or _DEFAULT_SIGNATURE, deadline)
        return self._examples(route, document, signature, deadline)

    def status(self, route: Route) -> str:
        """The states of a model's versions, or of one; a label in the path is ignored.

        Raises:
            ServingError: NOT_FOUND.
        """
        statuses = self.catalog.statuses(route.model, route.version)
        listed = [
            {
                "version": str(status.version),
                "state": status.state,
                "status": {"error_code": status.code.name, "error_message": status.message},
            }
            for status in statuses
        ]
        return json.dumps({"model_version_status": listed}, indent=1) + "\n"

    def metrics_text(self) -> str:
        """The metrics, with the states of the versions."""
        versions = []
        for model in self.catalog.models():
            try:
                versions += [(model, status) for status in self.catalog.statuses(model)]
            except ServingError:  # nothing of it was found yet
                continue
        labels = {model: self.catalog.labels(model) for model in self.catalog.models()}
        return self.metrics.text(versions, labels)

    def _predict(
        self, route: Route, document: dict[str, Any], signature: str, deadline: float | None
    ) -> Answer:
        with self.catalog.use(route.model, route.version, route.label) as model:
            try:
                text = self._predict_with(model, route, document, signature, deadline)
            except ServingError as error:
                return Answer("", model.version, error)
            return Answer(text, model.version)

    def _predict_with(
        self,
        model: LoadedModel,
        route: Route,
        document: dict[str, Any],
        signature: str,
        deadline: float | None,
    ) -> str:
        from serving.server.json_response import write_columns, write_rows

        inputs, by_row = read_predict(document, self._dtypes_of(model, signature))
        document.clear()  # parsed JSON takes ten times the memory of the arrays
        started = time.perf_counter()
        outputs = model.run(signature, inputs, None, _left(deadline))
        self.metrics.runtime_latency(route.model, "predict", time.perf_counter() - started)
        text = (write_rows if by_row else write_columns)(outputs, deadline)
        if self._log is not None:
            self._log.predict(
                route.model,
                model.version,
                lambda: _request(route.model, signature, inputs),
                lambda: _response(route.model, model.version, signature, outputs),
                size=sum(array.nbytes for array in (*inputs.values(), *outputs.values())),
            )
        return text

    def _dtypes_of(self, model: LoadedModel, signature: str) -> Mapping[str, str]:
        known = self._dtypes.setdefault(model, {})
        dtypes = known.get(signature)
        if dtypes is None:
            definition = model.signatures.get(signature)
            if definition is None:
                raise _invalid(f'Serving signature name: "{signature}" not found in signature def')
            from serving.server.tensors import name_of

            inputs = definition.inputs
            dtypes = {alias: name_of(inputs[alias].dtype) for alias in sorted(inputs)}
            known[signature] = dtypes
        return dtypes

    def _examples(
        self, route: Route, document: dict[str, Any], signature: str, deadline: float | None
    ) -> Answer:
        from tensorflow_serving.apis import classification_pb2, regression_pb2

        from serving.server import inference, json_examples

        classify = route.method == "classify"
        request = (
            classification_pb2.ClassificationRequest()
            if classify
            else regression_pb2.RegressionRequest()
        )
        request.model_spec.name = route.model
        request.model_spec.signature_name = signature
        json_examples.read_examples(document, request.input)

        def on_run(model: str, seconds: float) -> None:
            self.metrics.runtime_latency(model, route.method, seconds)

        with self.catalog.use(route.model, route.version, route.label) as model:
            run = inference.classify_with if classify else inference.regress_with
            try:
                response = run(model, request, _left(deadline), on_run)
            except ServingError as error:
                return Answer("", model.version, error)
            version = model.version
        if self._log is not None:
            log = self._log.classify if classify else self._log.regress
            log(route.model, version, request, response)
        if classify:
            return Answer(json_examples.write_classifications(response.result), version)
        return Answer(json_examples.write_regressions(response.result), version)

    def _metadata(self, route: Route) -> Answer:
        from google.protobuf import json_format
        from tensorflow_serving.apis import get_model_metadata_pb2

        with self.catalog.use(route.model, route.version, route.label) as model:
            version = model.version
            signatures = get_model_metadata_pb2.SignatureDefMap()
            for name, signature in model.signatures.items():
                signatures.signature_def[name].CopyFrom(signature)
        text = json_format.MessageToDict(
            signatures,
            always_print_fields_with_no_presence=True,
            preserving_proto_field_name=True,
        )
        spec = {"name": route.model, "signature_name": "", "version": str(version)}
        whole = {"model_spec": spec, "metadata": {"signature_def": text}}
        return Answer(json.dumps(whole, indent=1) + "\n", version)


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else deadline - time.monotonic()


def _request(model: str, signature: str, inputs: Mapping[str, np.ndarray]) -> Any:
    from tensorflow_serving.apis import predict_pb2

    from serving.server.tensors import encode

    made = predict_pb2.PredictRequest()
    made.model_spec.name = model
    made.model_spec.signature_name = signature
    for alias, array in inputs.items():
        made.inputs[alias].CopyFrom(encode(array))
    return made


def _response(model: str, version: int, signature: str, outputs: Mapping[str, np.ndarray]) -> Any:
    from tensorflow_serving.apis import predict_pb2

    from serving.server.tensors import encode

    made = predict_pb2.PredictResponse()
    made.model_spec.name = model
    made.model_spec.version.value = version
    made.model_spec.signature_name = signature
    for alias, array in outputs.items():
        made.outputs[alias].CopyFrom(encode(array))
    return made


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
