"""Measures a processor that computes from this machine's memory: matrix products, reads of memory, and dispatches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
from jax import numpy as jnp

from runtime.cli.calibration.effort import Effort
from runtime.cli.calibration.stopwatch import seconds_of
from runtime.jax_device import JaxDevice

DTYPE = "float32"
_FEW_ROWS = 16


@dataclass(frozen=True)
class Sample:
    """Holds one timed matrix product.

    Attributes:
        dtype: Name of the dtype.
        shape: Rows, inner and outer size.
        flops: Floating-point operations.
        num_bytes: Bytes read and written.
        seconds: Median time, the dispatch included.
    """

    dtype: str
    shape: tuple[int, int, int]
    flops: float
    num_bytes: float
    seconds: float


@dataclass(frozen=True)
class ProcessorFigures:
    """Holds what was measured on one processor.

    Attributes:
        name: What it is.
        dispatch_s: Seconds of a compiled program that does next to nothing.
        read_bytes_per_s: Rate of reading a large array once.
        samples: Matrix products.
    """

    name: str
    dispatch_s: float
    read_bytes_per_s: float
    samples: tuple[Sample, ...]


def measure_processor(
    device: JaxDevice, name: str, effort: Effort, tell: Callable[[], None]
) -> ProcessorFigures:
    """Times one of JAX's devices.

    Args:
        device: What to measure.
        name: What it is, for people.
        effort: What to measure.
        tell: Called after each figure.
    """
    with jax.default_device(device):
        one = jnp.zeros(8)
        step = jax.jit(lambda x: x + 1.0)
        dispatch_s = seconds_of(lambda: jax.block_until_ready(step(one)), effort.budget_s)
        tell()
        array = jnp.ones(effort.read_bytes // 4, jnp.float32)
        total = jax.jit(jnp.sum)
        read_s = seconds_of(lambda: jax.block_until_ready(total(array)), effort.budget_s)
        tell()
        del array
        samples: list[Sample] = []
        for shape in effort.products:
            samples.append(_product(shape, effort))
            tell()
    return ProcessorFigures(
        name, dispatch_s, effort.read_bytes / (read_s - min(dispatch_s, read_s / 2)), tuple(samples)
    )


def num_figures(effort: Effort) -> int:
    """Returns how many figures a processor has."""
    return 2 + len(effort.products)


def _product(shape: tuple[int, int, int], effort: Effort) -> Sample:
    """Times products; of few rows with weights in turns, so many that caches do not hold all of them, as in a decode."""
    rows, inner, outer = shape
    weight_bytes = inner * outer * jnp.dtype(DTYPE).itemsize
    count = min(16, math.ceil(effort.read_bytes / 2 / weight_bytes)) if rows <= _FEW_ROWS else 1
    weights = [jnp.full((inner, outer), 0.01, DTYPE) for _ in range(count)]
    x = jnp.ones((rows, inner), DTYPE)
    multiply = jax.jit(jnp.matmul)

    def all_products() -> None:
        for weight in weights:
            jax.block_until_ready(multiply(x, weight))

    seconds = seconds_of(all_products, effort.budget_s) / count
    num_bytes = weight_bytes + rows * (inner + outer) * jnp.dtype(DTYPE).itemsize
    return Sample(DTYPE, shape, 2.0 * rows * inner * outer, num_bytes, seconds)
