"""Confirms at the workload's sizes that a region treats cache slots by one rule, which a small probe then stands for.

A window of 4096 tokens, or a ring buffer, is plain attention to a probe of a few slots. So the index arithmetic alone, which is
cheap, is run at full length: every mask and bias must be one number over all slots before the row's position, one at it, and
one behind it; every other index must be an affine function of the position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from partitioner.frontend.trace import TracedPhase
from partitioner.jaxpr import Eqn, Var, borders, evaluate, needed_for, shape_of
from partitioner.passes.find_attention import AttentionRegion
from partitioner.passes.run_region import FAST_COMPILE, index_inputs
from partitioner.passes.validate_attention import ValidationError


def validate_positions(region: AttentionRegion, phase: TracedPhase, index: Sequence[Eqn]) -> None:
    """Checks the index arithmetic of a region at its own sizes.

    Args:
        region: The region at the workload's sizes.
        phase: Its phase, a decode step.
        index: The phase's index equations.

    Raises:
        ValidationError: With what depends on more than whether a slot lies before, at or behind the position.
    """
    needed = needed_for(index, borders(region.equations))
    inputs = set(borders([*needed, *region.equations]))
    if any(i.role == "token" and i.var in inputs for i in phase.inputs):
        raise ValidationError("its mask or positions depend on the tokens themselves")
    given = [i.var for i in phase.inputs if i.var in inputs and i.role not in ("param", "rng", "cache")]
    made = {v for e in needed for v in e.outvars}
    read = [v for v in borders(region.equations) if v in made or v in given]
    slotted = [v for v in read if phase.max_len in shape_of(v) and _dtype_kind(v) not in "iu"]
    others = [v for v in read if v not in slotted]

    def run(length: Any, values: list[Any]) -> tuple[list[Any], list[Any]]:
        env = evaluate(needed, dict(zip(given, values, strict=True)))
        return [_by_slot(env[v], phase.max_len, length) for v in slotted], [env[v] for v in others]

    compiled = jax.jit(run, compiler_options=FAST_COMPILE)
    lengths = sorted({0, phase.max_len // 2, phase.max_len - 1})
    results = []
    for length in lengths:
        env = index_inputs(phase, np.full(phase.batch_size, length))
        results.append(jax.device_get(compiled(length, [env[v] for v in given])))
    for var, *ranges in zip(slotted, *(r[0] for r in results), strict=True):
        if not _follows_one_rule(np.stack(ranges)):
            raise ValidationError(
                f"at {phase.max_len} slots it does not treat all slots before the position alike, as a window or a bias by "
                f"distance does not: {var.aval}"
            )
    for var, *values in zip(others, *(r[1] for r in results), strict=True):
        if not _is_affine(lengths, [np.asarray(v, np.float64) for v in values]):
            raise ValidationError(
                f"at {phase.max_len} slots an index does not grow evenly with the position, as that of a ring buffer does "
                f"not: {var.aval}"
            )


def _dtype_kind(var: Var) -> str:
    aval: Any = var.aval
    return aval.dtype.kind


def _by_slot(value: Any, num_slots: int, length: Any) -> Any:
    """Returns float32[axes, 3, 2]: per axis that may hold the slots, least and greatest value before, at, behind ``length``."""
    value = value.astype(jnp.float32)
    slots = jnp.arange(num_slots)
    found = []
    for axis in (a for a in range(value.ndim) if value.shape[a] == num_slots):
        rows = jnp.moveaxis(value, axis, -1).reshape(-1, num_slots)
        least, greatest = rows.min(0), rows.max(0)
        for part in (slots < length, slots == length, slots > length):
            found += [jnp.where(part, least, jnp.inf).min(), jnp.where(part, greatest, -jnp.inf).max()]
    return jnp.stack(found).reshape(-1, 3, 2)


def _follows_one_rule(ranges: np.ndarray) -> bool:
    """Tells whether, along one of the axes, each of the three parts is one number, the same at every length.

    Args:
        ranges: float32[lengths, axes, 3, 2]; least above greatest where a part is empty.
    """
    least, greatest = ranges[..., 0].min(0), ranges[..., 1].max(0)
    return bool((least >= greatest).all(axis=-1).any())


def _is_affine(lengths: Sequence[int], values: Sequence[np.ndarray]) -> bool:
    if len(lengths) < 3:
        return True
    first, middle, last = values
    steps = (lengths[1] - lengths[0], lengths[2] - lengths[1])
    return bool(np.array_equal((middle - first) * steps[1], (last - middle) * steps[0]))
