"""Requests held to the contract that a model brings along: `assets.extra/headrace_contract.json`.

The file says of each column what the reviewed schema allows in a request. Checking costs
microseconds: a few values are looked at one by one, many are first asked as a whole whether
anything is wrong at all. A model without the file is held to nothing.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.example import example_pb2

from serving.server.errors import Code, ServingError

CONTRACT_FILE = os.path.join("assets.extra", "headrace_contract.json")

_LOG = logging.getLogger(__name__)

Rule = Literal["missing", "values", "below", "above", "not_served"]

#: Up to so many values a loop is quicker than numpy.
_FEW = 48
#: Of one request of serialized tf.Examples, which must be parsed for it, if it is only counted.
MAX_EXAMPLES = 8
#: Characters of a value, and columns, that a refusal names.
_SHOWN, _TOLD = 60, 3
_DTYPES = {"float": np.dtype(np.float32), "int": np.dtype(np.int64), "string": np.dtype(object)}
_LISTS = {"float": "float_list", "int": "int64_list", "string": "bytes_list"}
_MISSING_INT = -1


@dataclass(frozen=True, slots=True)
class Broken:
    """What rows of a request do not hold to.

    Attributes:
        feature: the column.
        rule: which.
        count: rows.
        value: the first wrong one; None if it is missing.
        forbidden: whether no row at all may be so; else the schema allows a share of them, which
            a single request cannot tell.
        bound: what it was held to, in words.
    """

    feature: str
    rule: Rule
    count: int
    value: Any
    forbidden: bool
    bound: str

    def said(self, rows: int) -> str:
        """In words."""
        where = f"{self.feature}: in {self.count:,} of {rows:,} row(s) "
        if self.rule == "missing":
            return f"{where}no value, and it {self.bound}"
        value = self.value
        text = repr(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
        text = text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
        return f"{where}{text}, and it {self.bound}"


@dataclass(frozen=True, slots=True)
class _Column:
    """What one column is held to."""

    name: str
    kind: str
    presence: float
    low: float | None
    high: float | None
    values: frozenset[bytes] | None
    mass: float
    moment: bool

    @classmethod
    def of(cls, name: str, rule: Mapping[str, Any]) -> _Column:
        values = rule.get("values")
        return cls(
            name,
            rule["type"],
            float(rule.get("presence", 0.0)),
            _bound(rule.get("min"), rule["type"]),
            _bound(rule.get("max"), rule["type"]),
            None if values is None else frozenset(value.encode() for value in values),
            float(rule.get("mass", 1.0)),
            bool(rule.get("moment", False)),
        )

    def check(self, array: np.ndarray, times: int) -> Iterator[Broken]:
        """What is wrong with values; each stands for `times` rows."""
        if array.dtype != _DTYPES[self.kind]:
            return  # the graph will say so
        if self.kind == "string":
            yield from self._texts(array.ravel().tolist(), times)
        elif array.size <= _FEW:
            yield from self._numbers(array.ravel().tolist(), times)
        elif self._may_be_wrong(array):
            yield from self._many(array.ravel(), times)

    def missing(self, count: int) -> Iterator[Broken]:
        """`count` rows without a value."""
        if count and self.presence > 0:
            always = self.presence >= 1
            asked = "must be there" if always else f"is there in {self.presence:.0%} of the rows"
            yield Broken(self.name, "missing", count, None, always, asked)

    def _texts(self, texts: Sequence[Any], times: int) -> Iterator[Broken]:
        missing = texts.count(b"")
        yield from self.missing(missing * times)
        if self.values is None:
            return
        allowed = self.values
        wrong = [text for text in texts if text not in allowed and text != b""]
        if wrong:
            told = "is not in the schema's list of values"
            yield Broken(self.name, "values", len(wrong) * times, wrong[0], self.mass >= 1, told)

    def _numbers(self, numbers: Sequence[float], times: int) -> Iterator[Broken]:
        low, high = self.low, self.high
        missing, below, above = 0, [], []
        whole = self.kind == "int"
        for number in numbers:
            if number == _MISSING_INT if whole else not isfinite(number):
                missing += 1
            elif low is not None and number < low:
                below.append(number)
            elif high is not None and number > high:
                above.append(number)
        yield from self.missing(missing * times)
        yield from self._outside(below, above, times)

    def _may_be_wrong(self, array: np.ndarray) -> bool:
        """Two passes that no copy is made for; a missing value shows in one of the extremes."""
        least, most = array.min(), array.max()
        if self.kind == "int":
            if least <= _MISSING_INT:
                return True
        elif not (isfinite(least) and isfinite(most)):
            return True
        return (self.low is not None and least < self.low) or (
            self.high is not None and most > self.high
        )

    def _many(self, array: np.ndarray, times: int) -> Iterator[Broken]:
        gone = array == _MISSING_INT if self.kind == "int" else ~np.isfinite(array)
        yield from self.missing(int(gone.sum()) * times)
        there = array[~gone]
        below = there[there < self.low] if self.low is not None else there[:0]
        above = there[there > self.high] if self.high is not None else there[:0]
        yield from self._outside(below, above, times)

    def _outside(
        self, below: Sequence[Any] | np.ndarray, above: Sequence[Any] | np.ndarray, times: int
    ) -> Iterator[Broken]:
        if len(below):
            told = f"must be at least {self._figure(self.low)}"
            yield Broken(self.name, "below", len(below) * times, _plain(below[0]), True, told)
        if len(above):
            told = f"must be at most {self._figure(self.high)}"
            yield Broken(self.name, "above", len(above) * times, _plain(above[0]), True, told)

    def _figure(self, bound: float | None) -> str:
        """A bound in words."""
        if not self.moment:
            return f"{bound:g}"
        return f"{bound:.0f}, in seconds since 1970 (not in milliseconds)"


def _bound(bound: float | None, kind: str) -> float | None:
    """As a request can hold it: a float column has 32 bits, in which 0.1 is more than 0.1."""
    return float(np.float32(bound)) if bound is not None and kind == "float" else bound


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


class Contract:
    """What a model's requests must hold.

    Args:
        text: of the file.

    Raises:
        ValueError: it is not what `models.contract` writes.
    """

    def __init__(self, text: str) -> None:
        try:
            told = json.loads(text)
            self._forms: dict[str, str] = dict(told["signatures"])
            self._columns = [_Column.of(*item) for item in told["features"].items()]
            self._not_served = tuple(told["not_served"])
            if unknown := {c.kind for c in self._columns} - set(_DTYPES):
                raise ValueError(f"a column is {unknown.pop()}")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"is no contract ({error!r})") from error

    def check(
        self, signature: str, inputs: Mapping[str, np.ndarray], most: int | None = None
    ) -> tuple[int, list[Broken]]:
        """Checks a request.

        Args:
            signature: its name.
            inputs: alias → array.
            most: serialized tf.Examples that are looked at, at most; None: all.

        Returns:
            Rows looked at, and what they do not hold to; 0 if the signature takes no raw columns.
        """
        form = self._forms.get(signature)
        if form == "columns":
            rows = max((array.size for array in inputs.values()), default=0)
            return rows, [
                broken
                for column in self._columns
                if (array := inputs.get(column.name)) is not None and array.size
                # One value for all rows alike is what a column left out becomes.
                for broken in column.check(array, rows if array.size == 1 else 1)
            ]
        if form == "examples" and len(inputs) == 1:
            (array,) = inputs.values()
            return self._examples(array.ravel()[:most].tolist())
        return 0, []

    def _examples(self, serialized: Sequence[Any]) -> tuple[int, list[Broken]]:
        try:
            rows = [example_pb2.Example.FromString(item).features.feature for item in serialized]
        except (DecodeError, TypeError):
            return 0, []  # the graph will say so
        found: list[Broken] = []
        for column in self._columns:
            name, kind = column.name, _LISTS[column.kind]
            values = []
            for row in rows:
                # Asking a map for a key that it lacks would add it.
                if name in row and (value := getattr(row[name], kind).value):
                    values.append(value[0])
            found += column.missing(len(rows) - len(values))
            if column.kind == "string":
                found += column._texts(values, 1)
            else:
                found += column._numbers(values, 1)
        for name in self._not_served:
            if count := sum(name in row for row in rows):
                told = "must not be in a request: it is the label, or gives it away"
                found.append(Broken(name, "not_served", count, "a value", True, told))
        return len(rows), found


def read(path: str) -> Contract | None:
    """The contract of a version's folder; None without one.

    Raises:
        ServingError: FAILED_PRECONDITION, the file is damaged.
    """
    file = os.path.join(path, CONTRACT_FILE)
    if not tf.io.gfile.exists(file):
        return None
    try:
        with tf.io.gfile.GFile(file, "rb") as stream:
            return Contract(stream.read().decode("utf-8"))
    except ValueError as error:
        raise ServingError(
            Code.FAILED_PRECONDITION,
            f"{file}: {error}. Push the version again, or start the server with "
            "--request_contract=off.",
        ) from error


#: What is done with a request that breaks its contract.
Mode = Literal["off", "count", "refuse"]


@dataclass(frozen=True, slots=True)
class Guard:
    """Stands before one version.

    Attributes:
        contract: the version's.
        refuses: whether a request is refused that holds what no request may; else only counted.
        told: told the rows looked at, and what is wrong with them.
    """

    contract: Contract
    refuses: bool
    told: Callable[[int, Sequence[Broken]], None]

    def __call__(self, signature: str, inputs: Mapping[str, np.ndarray]) -> None:
        """Counts, and refuses.

        Args:
            signature: its name.
            inputs: alias → array.

        Raises:
            ServingError: INVALID_ARGUMENT; names column, value and rule.
        """
        rows, broken = self.contract.check(
            signature, inputs, None if self.refuses else MAX_EXAMPLES
        )
        if not rows:
            return
        self.told(rows, broken)
        wrong = [one for one in broken if one.forbidden] if self.refuses else []
        if wrong:
            more = f"; and {len(wrong) - _TOLD:,} more" if len(wrong) > _TOLD else ""
            said = "; ".join(one.said(rows) for one in wrong[:_TOLD])
            raise ServingError(
                Code.INVALID_ARGUMENT, f"The request breaks the model's contract: {said}{more}."
            )


def guard(path: str, mode: Mode, told: Callable[[int, Sequence[Broken]], None]) -> Guard | None:
    """What stands before a version; None if nothing does.

    Args:
        path: the version's folder.
        mode: the server's.
        told: see `Guard`.

    Raises:
        ServingError: FAILED_PRECONDITION, the contract is damaged and requests were to be refused
            by it. A version that is only counted for serves all the same.
    """
    if mode == "off":
        return None
    try:
        contract = read(path)
    except ServingError as error:
        if mode == "refuse":
            raise
        _LOG.warning("%s Requests are not checked.", error.message)
        return None
    if contract is None:
        if mode == "refuse":
            _LOG.warning("%s brings no contract: its requests are not checked.", path)
        return None
    return Guard(contract, mode == "refuse", told)
