"""Chains of kernels, each of which needs what the one before it made, as in a decode step.

Every link reads arrays of its own, in turns, so that they come from memory. What a chain demands is counted from its equations,
with the same model of fusion as that of predictions: a fit to the times of chains is one of what predictions multiply with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax import numpy as jnp

from cost_models import Work, work_of
from partitioner.flatten import make_flat
from runtime.cli.calibration.kernel_effort import KernelEffort

Link = Callable[[jax.Array, Any], jax.Array]
"""What a link makes of the result of the one before it, of the same shape, and arrays of its own."""


@dataclass(frozen=True)
class Chain:
    """Describes links that follow one another.

    Attributes:
        kind: ``reduction`` or ``peak``.
        label: Its shape, for people.
        dtype: Name of the dtype it computes in.
        link: One link.
        begins: Shape and dtype of what the first link is given.
        reads: Shapes of the arrays that one link reads, of ``dtype``.
        num_arrays: Sets of such arrays, which links take in turns.
        num_links: Links.
    """

    kind: str
    label: str
    dtype: str
    link: Link
    begins: jax.ShapeDtypeStruct
    reads: tuple[tuple[int, ...], ...]
    num_arrays: int
    num_links: int

    def run(self, value: jax.Array, arrays: Sequence[Any]) -> jax.Array:
        """Returns what the last link makes."""
        for number in range(self.num_links):
            value = self.link(value, arrays[number % self.num_arrays])
        return value

    @property
    def arrays(self) -> list[tuple[jax.ShapeDtypeStruct, ...]]:
        """Returns shapes and dtypes of all sets of arrays."""
        return [tuple(jax.ShapeDtypeStruct(s, self.dtype) for s in self.reads)] * self.num_arrays

    @property
    def work(self) -> Work:
        """Returns what one run demands.

        A link of a product begins with element-wise work that shares a kernel with the end of the one before. A reduction needs
        all of the one before it, so it is a kernel whatever is beside it.
        """
        if self.kind == "reduction":
            return _work(self.link, self.begins, self.arrays[0]) * self.num_links
        return _work(self.run, self.begins, self.arrays)


def chains(effort: KernelEffort) -> Iterator[Chain]:
    """Yields what is measured: small things first."""
    dtype = effort.dtypes[0]
    for rows, columns in effort.reductions:
        yield _reduction(rows, columns, dtype, effort)
    for dtype in effort.dtypes:
        yield _products(*effort.large, dtype, effort)


def num_chains(effort: KernelEffort) -> int:
    """Returns how many chains there are."""
    return len(effort.reductions) + len(effort.dtypes)


def _products(rows: int, inner: int, outer: int, dtype: str, effort: KernelEffort) -> Chain:
    """Returns pairs of products, there and back, with a norm before and a residual behind them."""

    def link(x: jax.Array, weights: Any) -> jax.Array:
        there, back = weights
        wide = x.astype(jnp.float32)
        normed = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + 1e-5)
        hidden = jax.nn.relu(_product(normed.astype(dtype), there, dtype))
        return x + _product(hidden, back, dtype)

    reads = ((inner, outer), (outer, inner))
    label = f"{rows} x {inner} x {outer} and back"
    size = 2.0 * inner * outer * jnp.dtype(dtype).itemsize
    num_arrays, num_links = _lengths(size, 4.0 * rows * inner * outer, effort)
    return Chain("peak", label, dtype, link, _shaped((rows, inner), dtype), reads, num_arrays, num_links)


def _product(x: jax.Array, weight: jax.Array, dtype: str) -> jax.Array:
    """Multiplies as models do: sums in float32, scaled so that values neither grow nor vanish."""
    made = jnp.einsum("rk,kn->rn", x, weight, preferred_element_type=jnp.float32)
    return (made * weight.shape[0] ** -0.5).astype(dtype)


def _reduction(rows: int, columns: int, dtype: str, effort: KernelEffort) -> Chain:
    """Returns sums over rows of what exceeds the sums before."""

    def link(sums: jax.Array, arrays: Any) -> jax.Array:
        above = jnp.maximum(arrays[0].astype(jnp.float32), sums[:, None])
        return jnp.sum(above, axis=1) / columns

    shape = (rows, columns)
    size = float(math.prod(shape) * jnp.dtype(dtype).itemsize)
    num_arrays, num_links = _lengths(size, float(math.prod(shape)), effort)
    label = f"{rows} x {columns} by row"
    return Chain(
        "reduction", label, dtype, link, _shaped((rows,), "float32"), (shape,), num_arrays, num_links
    )


def _lengths(num_bytes: float, flops: float, effort: KernelEffort) -> tuple[int, int]:
    """Returns the sets of arrays and the links of a chain, whose links read so many bytes and compute so much."""
    links = math.ceil(min(effort.chain_bytes / num_bytes, effort.chain_flops / flops))
    num_links = max(2, min(links, effort.max_links))
    num_arrays = max(1, math.ceil(effort.spread_bytes / num_bytes))
    return min(num_arrays, num_links, effort.max_arrays), num_links


def _shaped(shape: tuple[int, ...], dtype: str) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)


def _work(function: Callable[..., Any], *given: Any) -> Work:
    inputs, equations, outputs, _, _ = make_flat(function, *given)
    return work_of(equations, inputs, outputs)
