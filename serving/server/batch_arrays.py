"""The arrays of a batch: requests put together, padded, run, and taken apart again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.server.errors import Code, ServingError


def check_batch_size(inputs: Sequence[np.ndarray]) -> int:
    """The number of rows, which all inputs must share.

    Raises:
        ServingError: INVALID_ARGUMENT, a scalar or different numbers of rows.
    """
    if any(array.ndim == 0 for array in inputs):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Batching Run() input tensors must have at least one dimension",
        )
    size = len(inputs[0])
    if any(len(array) != size for array in inputs):
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Batching Run() input tensors must have equal 0th-dimension size",
        )
    return size


def join(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Rows of several arrays of the same dtype, one after the other."""
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


def pad_batch(
    requests: Sequence[Sequence[np.ndarray]],
    rows: int,
    *,
    allowed: Sequence[int],
    pad_inner: bool,
) -> list[np.ndarray]:
    """The inputs of a batch, input by input.

    Args:
        requests: per request, its inputs, always in the same order.
        rows: of all requests together.
        allowed: ascending sizes; the batch gets the smallest that fits by repeating its first
            row. Empty: any size.
        pad_inner: whether inputs of different inner shapes are padded to the largest, each with
            its own first element.

    Raises:
        ServingError: FAILED_PRECONDITION, different inner shapes and no padding;
            INVALID_ARGUMENT, they cannot be padded, or have different dtypes.
    """
    fill = next((size for size in allowed if size >= rows), rows) - rows
    return [_input(list(column), fill, pad_inner) for column in zip(*requests, strict=True)]


def split_outputs(
    outputs: Sequence[np.ndarray], sizes: Sequence[int], rows: int
) -> list[list[np.ndarray]]:
    """Outputs per request; rows that padding added are dropped.

    Raises:
        ServingError: FAILED_PRECONDITION, an output has not one row per row of the batch.
    """
    for output in outputs:
        if output.ndim == 0:
            raise ServingError(Code.FAILED_PRECONDITION, "Batched output tensor has 0 dimensions")
        if len(output) != rows:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                "dimension sizes of the input tensors",
            )
    parts, start = [], 0
    for size in sizes:
        parts.append([output[start : start + size] for output in outputs])
        start += size
    return parts


def _input(arrays: list[np.ndarray], fill: int, pad_inner: bool) -> np.ndarray:
    first = arrays[0]
    if any(array.dtype != first.dtype for array in arrays):
        # Joined, numpy would convert; one request must not change what another one sent.
        raise ServingError(
            Code.INVALID_ARGUMENT, "requests of one batch have inputs of different dtypes"
        )
    if any(array.shape[1:] != first.shape[1:] for array in arrays):
        if not pad_inner:
            raise ServingError(
                Code.FAILED_PRECONDITION,
                "Tensors with name in different requests of one batch have different shapes: "
                f"{', '.join(str(list(array.shape)) for array in arrays[:8])}, while padding is "
                "turned off. Set pad_variable_length_inputs in the batching parameters.",
            )
        arrays = _same_inner_shape(arrays)
    if fill:
        arrays = [*arrays, np.repeat(arrays[0][:1], fill, axis=0)]
    return join(arrays)


def _same_inner_shape(arrays: list[np.ndarray]) -> list[np.ndarray]:
    if len({array.ndim for array in arrays}) > 1:
        raise ServingError(
            Code.INVALID_ARGUMENT, "Tensors of different rank cannot be padded to one shape."
        )
    if any(array.size == 0 for array in arrays):
        raise ServingError(Code.INVALID_ARGUMENT, "Got empty tensor in batch of non-empty tensors.")
    inner = np.max([array.shape[1:] for array in arrays], axis=0)
    padded = []
    for array in arrays:
        whole = np.full((len(array), *inner), array.flat[0], array.dtype)
        whole[tuple(slice(size) for size in array.shape)] = array
        padded.append(whole)
    return padded
