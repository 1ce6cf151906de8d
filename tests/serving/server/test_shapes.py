"""Rows and shapes of a request's inputs: what is refused, and what a message says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.server import saved_model
from serving.server.errors import Code, ServingError

S = np.array([b"x", b"y", b"z"], object)


@pytest.fixture(scope="module")
def multi(tiny: Path) -> Any:
    """a float [rows, 2], b int64 [rows], s string [rows]."""
    model = saved_model.load("multi", 1, str(tiny / "multi" / "1"))
    yield model
    model.close()


def inputs(a: int, b: int, s: int) -> dict[str, np.ndarray]:
    return {"a": np.ones((a, 2), np.float32), "b": np.ones(b, np.int64), "s": S[:s]}


def error_of(call: Callable[[], object]) -> ServingError:
    with pytest.raises(ServingError) as raised:
        call()
    return raised.value


@pytest.mark.parametrize("rows, single, several", [
    ((3, 1, 3), "b", "a"), ((1, 3, 3), "a", "b"), ((3, 3, 1), "s", "a"), ((1, 1, 2), "a, b", "s"),
])  # fmt: skip
def test_one_row_is_not_repeated(
    multi: Any, rows: tuple[int, int, int], single: str, several: str
) -> None:
    error = error_of(lambda: multi.run("serving_default", inputs(*rows)))
    assert error.code is Code.INVALID_ARGUMENT
    assert error.message == (
        f"Of {single} there is 1 row, of {several} there are {max(rows)}. Send as many rows of "
        "each (--check_rows=false lets the model repeat the one)."
    )


def test_as_many_rows_of_each_are_answered(multi: Any) -> None:
    for rows in (1, 3):
        assert (
            multi.run("serving_default", inputs(rows, rows, rows))["sum"].tolist() == [3.0] * rows
        )


def test_whoever_wants_may_have_it_repeated(multi: Any) -> None:
    multi.checks_rows = False
    try:
        assert multi.run("serving_default", inputs(3, 1, 3))["sum"].tolist() == [3.0] * 3
    finally:
        multi.checks_rows = True


def test_a_declared_scalar_is_for_all_rows(tiny: Path) -> None:
    model = saved_model.load("scalar", 1, str(tiny / "scalar" / "1"))
    aliases = {
        alias: [dim.size for dim in info.tensor_shape.dim]
        for alias, info in model.signatures["serving_default"].inputs.items()
    }
    given = {alias: np.ones([3 if size < 0 else size for size in sizes], np.float32)
             for alias, sizes in aliases.items()}  # fmt: skip
    model.run("serving_default", given)
    model.close()


def test_a_wrong_shape_is_named_with_the_one_wanted(multi: Any) -> None:
    wrong = inputs(3, 3, 3) | {"a": np.ones(3, np.float32)}
    error = error_of(lambda: multi.run("serving_default", wrong))
    assert error.message.startswith("Input a has the shape [3]; the signature wants [rows,2]. ")
    error = error_of(lambda: multi.run("serving_default", inputs(2, 3, 3)))
    assert error.message.startswith("Inputs have different numbers of rows: a 2, b 3, s 3. ")
