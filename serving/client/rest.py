"""The REST interface. Needs httpx, and nothing of TensorFlow."""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from serving.client.errors import (
    ClientError,
    DeadlineExceeded,
    Refused,
    Unreachable,
    code_of_status,
)
from serving.client.retry import Deadline
from serving.client.signature import (
    Metadata,
    Nested,
    Signature,
    Tensor,
    TensorSpec,
    Value,
    VersionStatus,
    nest,
)
from serving.client.transport import Target

#: Formats of `tensor_content`, in which a default may be written.
_FORMATS = {"DT_FLOAT": "<f", "DT_DOUBLE": "<d", "DT_INT32": "<i", "DT_INT64": "<q"}
_UNAVAILABLE = 503


class RestTransport:
    """A connection pool to one server; may be used by several threads.

    Args:
        address: as `http://host:8501`.
        headers: sent with each request, such as a token that a gateway asks for.
    """

    def __init__(self, address: str, headers: Mapping[str, str] | None = None) -> None:
        self.where = address
        self._http = httpx.Client(
            base_url=address, headers=dict(headers or {}), follow_redirects=False, trust_env=False
        )

    def metadata(self, target: Target, deadline: Deadline) -> Metadata:
        answer = self._ask("GET", f"{_path(target)}/metadata", None, deadline)
        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            return Metadata(
                target.model,
                int(answer["model_spec"]["version"]),
                {name: _signature(said) for name, said in signatures.items()},
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(answer) from error

    def status(self, target: Target, deadline: Deadline) -> list[VersionStatus]:
        answer = self._ask("GET", _path(target), None, deadline)
        try:
            return [
                VersionStatus(
                    int(said["version"]),
                    said["state"],
                    said["status"]["error_code"],
                    said["status"]["error_message"],
                )
                for said in answer["model_version_status"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange(answer) from error

    def predict(
        self,
        target: Target,
        signature_name: str,
        signature: Signature,
        inputs: Mapping[str, Tensor],
        deadline: Deadline,
    ) -> dict[str, Nested]:
        # By column: each name is written once, not once a row.
        columns = {name: nest(_jsonable(tensor), tensor.shape) for name, tensor in inputs.items()}
        body = json.dumps(
            {"signature_name": signature_name, "inputs": columns}, separators=(",", ":")
        ).encode()
        answer = self._ask("POST", f"{_path(target)}:predict", body, deadline)
        outputs = answer.get("outputs") if isinstance(answer, dict) else None
        if len(signature.outputs) == 1:  # the server drops the name of a lone output
            outputs = {next(iter(signature.outputs)): outputs}
        if not isinstance(outputs, dict) or outputs.keys() != signature.outputs.keys():
            raise self._strange(answer)
        return {
            name: _decoded(value) if signature.outputs[name].dtype == "DT_STRING" else value
            for name, value in outputs.items()
        }

    def close(self) -> None:
        self._http.close()

    def _ask(self, method: str, path: str, body: bytes | None, deadline: Deadline) -> Any:
        left = deadline.check(self.where)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            with self._http.stream(
                method, path, content=body, headers=headers, timeout=left
            ) as response:
                content = bytearray()
                for part in response.iter_bytes():
                    # httpx limits each wait, not their sum.
                    deadline.check(self.where)
                    content += part
        except httpx.ConnectError as error:
            raise Unreachable(f"no server answers at {self.where}: {_why(error)}.") from error
        except httpx.ConnectTimeout as error:
            raise Unreachable(f"{self.where} accepts no connection.") from error
        except httpx.TimeoutException as error:
            deadline.check(self.where)
            raise DeadlineExceeded(f"{self.where} did not answer in time.") from error
        except (httpx.RemoteProtocolError, httpx.NetworkError) as error:
            # A server that stops closes idle connections, perhaps as a request is on its way; one
            # that is killed resets them. A prediction may be asked for again.
            raise Unreachable(f"{self.where} closed the connection: {_why(error)}.") from error
        except httpx.HTTPError as error:
            raise ClientError(f"asking {self.where} failed: {_why(error)}.") from error
        return self._answer(response, bytes(content))

    def _answer(self, response: httpx.Response, content: bytes) -> Any:
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if response.status_code == 200 and answer is not None:
            return answer
        reason = answer.get("error") if isinstance(answer, dict) else None
        if response.status_code == _UNAVAILABLE:
            raise Unreachable(f"{self.where} is not available: {reason or 'HTTP 503'}.")
        if isinstance(reason, str):
            raise Refused(code_of_status(response.status_code), reason, self.where)
        raise ClientError(
            f"{self.where} answered HTTP {response.status_code} and not like a model server. "
            "Is it the address of the REST port (8501, as a rule)?"
        )

    def _strange(self, answer: object) -> ClientError:
        text = json.dumps(answer)
        return ClientError(f"{self.where} answered what no model server does: {text[:200]}")


def _path(target: Target) -> str:
    path = f"/v1/models/{quote(target.model, safe='')}"
    if target.version is not None:
        return f"{path}/versions/{target.version}"
    return f"{path}/labels/{quote(target.label, safe='')}" if target.label else path


def _why(error: Exception) -> str:
    return re.sub(r"^\[Errno -?\d+\] ", "", str(error)) or type(error).__name__


def _jsonable(tensor: Tensor) -> list[Any]:
    if tensor.dtype != "DT_STRING":
        return tensor.values
    return [value if isinstance(value, str) else _of_bytes(value) for value in tensor.values]


def _of_bytes(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return str(value).encode()


def _signature(said: Mapping[str, Any]) -> Signature:
    defaults = said.get("defaults") or {}
    return Signature(
        {
            name: _spec(info, _default(defaults[name]) if name in defaults else None)
            for name, info in said["inputs"].items()
        },
        {name: _spec(info, None) for name, info in said["outputs"].items()},
    )


def _spec(info: Mapping[str, Any], default: Value | None) -> TensorSpec:
    shape = info["tensor_shape"]
    sizes = tuple(int(dim["size"]) for dim in shape.get("dim", ()))
    return TensorSpec(info["dtype"], None if shape.get("unknown_rank") else sizes, default)


def _default(said: Mapping[str, Any]) -> Value | None:
    """The one value of a default; None if it has several, or a type without a use here."""
    dtype = said.get("dtype", "")
    for field in ("float_val", "double_val", "int_val", "int64_val", "bool_val", "string_val"):
        values = said.get(field) or []
        if len(values) == 1:
            value = values[0]
            if dtype == "DT_STRING":
                return _of_default_bytes(base64.b64decode(value))
            if dtype in ("DT_FLOAT", "DT_DOUBLE"):
                return float(value)  # JSON's NaN and Infinity are texts in protocol buffers
            return bool(value) if dtype == "DT_BOOL" else int(value)
    content = base64.b64decode(said.get("tensor_content") or "")
    form = _FORMATS.get(dtype)
    if form and len(content) == struct.calcsize(form):
        number: float | int = struct.unpack(form, content)[0]
        return number
    return None


def _of_default_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
