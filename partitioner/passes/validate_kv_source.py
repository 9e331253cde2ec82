"""Confirms that K and V made again from stored inputs are those that the model made, on few rows and tokens.

A decode step makes K and V of one token per row, a prefill those of a whole prompt at once; both are run on random inputs and
random weights and held against what the stored inputs give. Slots that hold no token must give finite numbers, since attention
multiplies what it masks by zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import numpy as jnp

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.layout import from_layout, product
from partitioner.ir.op import Attention, AxisRole
from partitioner.jaxpr import Var, dtype_of, shape_of
from partitioner.passes.find_kv_source import KvPath
from partitioner.passes.logit_rule import ValidationError
from partitioner.passes.recompute_kv import recompute_kv
from partitioner.passes.run_region import index_inputs, runnable
from partitioner.passes.validate_attention import CACHE_ROLES, NEW_ROLES

_TOLERANCE = {"float64": 1e-6, "float32": 2e-4, "float16": 1e-2, "bfloat16": 4e-2}
_POOL = 65537
"""Random numbers that large arrays repeat: a prime, so that no two rows of a weight are alike."""


@dataclass(frozen=True)
class SmallPath:
    """Holds a path of few rows with the phase whose inputs it reads.

    Attributes:
        path: In a decode step to the new K and V, in a prefill to the caches.
        phase: Of those sizes.
    """

    path: KvPath
    phase: TracedPhase


@dataclass(frozen=True)
class InputAxes:
    """Tells which axis of a layer's input is which; all others together are its width.

    Attributes:
        batch: Axis of the rows, in a decode step and in a prefill.
        token: Axis of a prefill's tokens.
    """

    batch: tuple[int, int]
    token: int


def validate_kv_source(decode: SmallPath, prefill: SmallPath | None, attention: Attention) -> InputAxes:
    """Returns the axes of a layer's input after confirming that K and V can be made of it again.

    Args:
        decode: From the input to the new K and V; its rows are a size of their own.
        prefill: From the input to the caches; None for a model without.
        attention: The decode's.

    Raises:
        ValidationError: With what differs.
    """
    axes = input_axes(decode, prefill)
    rows = decode.phase.batch_size
    num_slots = prefill.phase.chunk if prefill else 2 * rows + 1
    recompute = recompute_kv(decode.phase, decode.path, attention, axes.batch[0], num_slots)
    draw = _Draw()
    weights = {decode.phase.input_of[v].name: draw(v) for v in recompute.given if _is_param(decode, v)}
    given = [weights.get(i.name, i.value) for i in (decode.phase.input_of[v] for v in recompute.given)]
    run = runnable(recompute.equations, [recompute.rows, *recompute.given], recompute.caches)
    stored = draw(recompute.rows)
    made = [_canonical(c, attention, rows, num_slots) for c in run([stored, *given])]
    tolerance = max(_TOLERANCE.get(dtype_of(v).name, 0.05) for v in (decode.path.source, *recompute.caches))
    _check_decode(decode, attention, axes, weights, stored, made, tolerance)
    if prefill is not None:
        fresh = _prefilled(prefill, attention, axes, weights, stored)
        _compare([c[: prefill.phase.batch_size] for c in made], fresh, tolerance, "prefill")
    empty = run([np.zeros_like(stored), *given])
    if not all(np.isfinite(c.astype(np.float32)).all() for c in empty):
        raise ValidationError("an empty slot gives K or V that are no numbers")
    return axes


def input_axes(decode: SmallPath, prefill: SmallPath | None) -> InputAxes:
    """Returns the axes of a layer's input.

    Raises:
        ValidationError: They cannot be told.
    """
    shape = shape_of(decode.path.source)
    batch = _axis_of(decode.phase.batch_size, shape)
    if prefill is None:
        return InputAxes((batch, batch), batch)
    many, phase = shape_of(prefill.path.source), prefill.phase
    if many.count(phase.chunk) != 1 or phase.chunk == phase.batch_size:
        raise ValidationError(f"cannot tell the tokens of the layer's input of shape {many}")
    first, token = _axis_of(phase.batch_size, many), many.index(phase.chunk)
    features = [n for a, n in enumerate(many) if a not in (token, first) and n != 1]
    if features != [n for a, n in enumerate(shape) if a != batch and n != 1]:
        raise ValidationError(f"the layer's input has shape {shape} in a decode step, {many} in a prefill")
    return InputAxes((batch, first), token)


def _axis_of(rows: int, shape: Sequence[int]) -> int:
    """Returns the axis of the rows; of axes of size one, any is that of a single row."""
    if not shape.count(rows) or (rows > 1 and shape.count(rows) > 1):
        raise ValidationError(f"cannot tell the rows of the layer's input of shape {tuple(shape)}")
    return shape.index(rows)


def _check_decode(
    decode: SmallPath,
    attention: Attention,
    axes: InputAxes,
    weights: Mapping[str, np.ndarray],
    stored: np.ndarray,
    made: Sequence[np.ndarray],
    tolerance: float,
) -> None:
    """Runs decode steps over rows of unequal lengths, unless the model has one counter for all of them."""
    rows, num_slots, width = stored.shape
    counted = any(decode.phase.input_of[v].role == "cursor" for v in decode.path.inputs)
    lengths = np.full(rows, num_slots - 1) if counted else (np.arange(rows) * 2 + 1) % num_slots
    shape = shape_of(decode.path.source)
    inner = shape[: axes.batch[0]] + shape[axes.batch[0] + 1 :]
    if width != product(inner):
        raise ValidationError(f"the layer's input of shape {shape} is not one row of {width} per sequence")
    taken = stored[np.arange(rows), lengths].reshape(rows, *inner)
    index = index_inputs(decode.phase, lengths)
    env = {decode.path.source: np.moveaxis(taken, 0, axes.batch[0])}
    fresh = _run(decode, env, {v: index[v] for v in decode.path.inputs if v in index}, weights)
    sizes: Mapping[AxisRole, int] = {
        "batch": rows,
        "kv_head": attention.num_kv_heads,
        "head_size": attention.head_size,
    }
    named = [
        from_layout(a.astype(jnp.dtype(attention.cache_dtype)), attention.new_layout, NEW_ROLES, sizes)
        for a in fresh
    ]
    _compare([c[np.arange(rows), :, lengths] for c in made], named, tolerance, "decode step")


def _prefilled(
    prefill: SmallPath,
    attention: Attention,
    axes: InputAxes,
    weights: Mapping[str, np.ndarray],
    stored: np.ndarray,
) -> list[np.ndarray]:
    """Returns K and V that a prefill makes of the same inputs, ``[batch, kv_heads, tokens, head_size]``."""
    phase, source = prefill.phase, prefill.path.source
    rows, num_slots = phase.batch_size, stored.shape[1]
    shape = [n for a, n in enumerate(shape_of(source)) if a not in (axes.batch[1], axes.token)]
    arranged = np.moveaxis(
        stored[:rows].reshape(rows, num_slots, *shape), (0, 1), (axes.batch[1], axes.token)
    )
    env: dict[Var, Any] = {source: arranged}
    index: dict[Var, Any] = {}
    for v in prefill.path.inputs:
        described = phase.input_of[v]
        match described.role:
            case "position":
                index[v] = np.broadcast_to(np.arange(num_slots), shape_of(v)).astype(dtype_of(v))
            case "mask":
                index[v] = np.ones(shape_of(v), bool)
            case "cursor" | "cache":
                index[v] = np.zeros(shape_of(v), dtype_of(v))
            case "const":
                index[v] = described.value
            case _:
                pass
    fresh = _run(prefill, env, index, weights)
    return [_canonical(c, attention, rows, num_slots) for c in fresh]


def _run(
    small: SmallPath,
    env: Mapping[Var, Any],
    index: Mapping[Var, Any],
    weights: Mapping[str, np.ndarray],
) -> list[np.ndarray]:
    named = {v: small.phase.input_of[v].name for v in small.path.inputs if _is_param(small, v)}
    strange = [name for name in named.values() if name not in weights]
    if strange:
        raise ValidationError(f"a prefill makes K and V with {strange[0]!r}, a decode step without")
    values: dict[Var, Any] = {v: weights[name] for v, name in named.items()}
    values |= {**env, **index}
    order = list(values)
    return runnable(small.path.equations, order, list(small.path.targets))([values[v] for v in order])


def _compare(made: Sequence[np.ndarray], fresh: Sequence[np.ndarray], tolerance: float, what: str) -> None:
    for letter, again, first in zip("KV", made, fresh, strict=True):
        reference = first.astype(np.float32)
        error = float(np.abs(again.astype(np.float32) - reference).max())
        if not error <= tolerance * max(1.0, float(np.abs(reference).max())):
            raise ValidationError(
                f"{letter} made again of the layer's input differs from that of a {what} by {error:.2g} on random inputs"
            )


def _canonical(cache: np.ndarray, attention: Attention, rows: int, num_slots: int) -> np.ndarray:
    sizes: Mapping[AxisRole, int] = {
        "batch": rows,
        "kv_head": attention.num_kv_heads,
        "token": num_slots,
        "head_size": attention.head_size,
    }
    return from_layout(cache, attention.cache_layout, CACHE_ROLES, sizes)


def _is_param(small: SmallPath, var: Var) -> bool:
    return small.phase.input_of[var].role == "param"


class _Draw:
    """Draws random arrays; large ones repeat a pool of numbers, since drawing all of a weight takes longer than using it."""

    def __init__(self) -> None:
        self._pool = np.random.default_rng(0).standard_normal(_POOL, np.float32)

    def __call__(self, var: Var) -> np.ndarray:
        shape = shape_of(var)
        scale = shape[0] ** -0.5 if len(shape) > 1 else 1.0
        pool = (self._pool * scale).astype(dtype_of(var))
        return np.resize(pool, shape)
