"""Checks of what commands carry; each returns the array in the form that the drive works with."""

import numpy as np

from runtime.csd.errors import DriveError
from runtime.csd.task import Task
from runtime.kernels.inputs import kernel_input
from runtime.kernels.softmax import NO_SLOPES


def check_layer(task: Task, layer: int) -> None:
    """Requires that a layer exists.

    Raises:
        DriveError: It does not.
    """
    if not 0 <= layer < task.num_layers:
        raise DriveError(
            f"layer {layer} does not exist; the drive is configured for layers 0 to {task.num_layers - 1}"
        )


def check_rows(num_rows: int, rows: np.ndarray | None, count: int) -> np.ndarray:
    """Returns the sequences of a command on a layer of ``num_rows``, int64 ``[count]``; the first where none are named.

    Raises:
        DriveError: Their number is not ``count``, one is outside of the batch, or one is named twice.
    """
    if rows is None and count <= num_rows:
        return np.arange(count)
    chosen = np.arange(count) if rows is None else check_integers("rows", rows, count)
    if chosen.size and not 0 <= chosen.min() <= chosen.max() < num_rows:
        raise DriveError(
            f"sequences {int(chosen.min())} to {int(chosen.max())} are not all configured; "
            f"use rows 0 to {num_rows - 1} or configure a larger batch"
        )
    if len(np.unique(chosen)) != len(chosen):
        raise DriveError(f"rows {chosen.tolist()} name a sequence twice; name each sequence once")
    return chosen


def check_integers(name: str, values: np.ndarray, count: int) -> np.ndarray:
    """Returns ``count`` integers as int64 ``[count]``.

    Raises:
        DriveError: The array has another shape or type.
    """
    array = np.asarray(values)
    if array.shape != (count,) or not np.issubdtype(array.dtype, np.integer):
        raise DriveError(f"{name} has shape {array.shape} and dtype {array.dtype}; give {count} integers")
    return kernel_input(array, np.int64)


def check_kv(task: Task, name: str, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns keys or values as bytes, uint8 ``[..., token_bytes]``.

    Raises:
        DriveError: Shape or dtype differ from what is configured.
    """
    array = np.asarray(values)
    if array.shape != shape:
        raise DriveError(f"{name} has shape {array.shape}; the configured shape is {shape}")
    if array.dtype != task.dtype:
        raise DriveError(f"{name} is {array.dtype}, the drive is configured for {task.dtype}; cast it first")
    return np.ascontiguousarray(array).view(np.uint8)


def check_query(task: Task, layer: int, query: np.ndarray) -> np.ndarray:
    """Returns queries as float32 ``[n, query_heads, head_size]``.

    Raises:
        DriveError: The shape differs from what is configured.
    """
    array = np.asarray(query)
    if array.ndim != 3 or array.shape[1:] != (task.query_heads(layer), task.head_size):
        raise DriveError(
            f"query has shape {array.shape}; the configured shape is "
            f"(n, {task.query_heads(layer)}, {task.head_size})"
        )
    return kernel_input(array, np.float32)


def check_slopes(task: Task, layer: int, slopes: np.ndarray | None) -> np.ndarray:
    """Returns slopes as float32 ``[query_heads]``; ``NO_SLOPES`` where there are none.

    Raises:
        DriveError: They are not one finite number for each query head.
    """
    if slopes is None:
        return NO_SLOPES
    array = np.asarray(slopes)
    if array.shape != (task.query_heads(layer),) or not np.isfinite(array).all():
        raise DriveError(
            f"slopes are {array.tolist()}; give one finite number for each of the {task.query_heads(layer)} query heads of "
            f"layer {layer}, or None for no bias"
        )
    return kernel_input(array, np.float32)
