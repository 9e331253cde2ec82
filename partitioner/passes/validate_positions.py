"""Confirms at the workload's sizes that a region writes its caches by one rule, which a small probe then stands for.

A ring buffer is plain attention to a probe of a few slots. So the index arithmetic alone, which is cheap, is run at full
length: what selects slots must be one number over all slots before the position, one at it, and one behind it; every other
index must be an affine function of the position. What is seen of the caches is ``validate_logits``' part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from partitioner.frontend.trace import TracedPhase
from partitioner.jaxpr import Eqn, Var, borders, dtype_of, needed_for, shape_of, variables
from partitioner.passes.find_attention import AttentionRegion
from partitioner.passes.logit_rule import ValidationError
from partitioner.passes.run_region import index_inputs, index_variables, runnable


def validate_positions(region: AttentionRegion, phase: TracedPhase, index: Sequence[Eqn]) -> None:
    """Checks the index arithmetic of a region's cache updates at its own sizes.

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
    lengths = sorted({0, phase.max_len // 2, phase.max_len - 1})
    written = [*region.key.update, *region.key.views, *region.value.update, *region.value.views]
    for var, values in _evaluated(written, phase, needed, lengths).items():
        if phase.max_len in shape_of(var) and dtype_of(var).kind not in "iu":
            by_slot = [_by_slot(v, phase.max_len, n) for v, n in zip(values, lengths, strict=True)]
            if not _follows_one_rule(np.stack(by_slot)):
                raise ValidationError(
                    f"at {phase.max_len} slots it does not write each token to the slot of its position: {var.aval}"
                )
        elif not _is_affine(lengths, [v.astype(np.float64) for v in values]):
            raise ValidationError(
                f"at {phase.max_len} slots an index does not grow evenly with the position, as that of a ring buffer does "
                f"not: {var.aval}"
            )


def _evaluated(
    equations: Sequence[Eqn], phase: TracedPhase, needed: Sequence[Eqn], lengths: Sequence[int]
) -> dict[Var, list[np.ndarray]]:
    """Returns what equations read of index arithmetic, before it is broadcast, at each of the lengths in all rows."""
    made = {v: e for e in needed for v in e.outvars}
    given = index_variables(phase)
    sources = (_before_broadcast(v, made) for v in borders(equations))
    # what still is a broadcast is one number, spread out
    spread = {v for v, e in made.items() if e.primitive.name == "broadcast_in_dim"}
    read = dict.fromkeys(v for v in sources if (v in made and v not in spread) or v in given)
    run = runnable(needed_for(needed, read), given, list(read))
    found: dict[Var, list[np.ndarray]] = {v: [] for v in read}
    for length in lengths:
        env = index_inputs(phase, np.full(phase.batch_size, length))
        for v, value in zip(read, run([env[v] for v in given]), strict=True):
            found[v].append(value)
    return found


def _before_broadcast(var: Var, made: Mapping[Var, Eqn]) -> Var:
    """Returns what a variable is a broadcast of, through any number of them, or the variable itself."""
    while var in made and made[var].primitive.name == "broadcast_in_dim" and variables(made[var].invars):
        var = variables(made[var].invars)[0]
    return var


def _by_slot(value: np.ndarray, num_slots: int, length: int) -> np.ndarray:
    """Returns float32[axes, 3, 2]: for each axis that may hold slots, the range of values before, at and behind ``length``."""
    found = []
    for axis in (a for a, size in enumerate(value.shape) if size == num_slots):
        rows = np.moveaxis(value, axis, -1).reshape(-1, num_slots).astype(np.float32)
        least, greatest = rows.min(0), rows.max(0)
        for part in (slice(length), slice(length, length + 1), slice(length + 1, None)):
            found += [least[part].min(initial=np.inf), greatest[part].max(initial=-np.inf)]
    return np.reshape(found, (-1, 3, 2))


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
    if np.array_equal(first, middle) and np.array_equal(middle, last):
        return True
    steps = (lengths[1] - lengths[0], lengths[2] - lengths[1])
    return bool(np.array_equal((middle - first) * steps[1], (last - middle) * steps[0]))
