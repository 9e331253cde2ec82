"""Cost vectors: seconds in the chain of each phase, load of each resource, what capacities limit, in this order.

A vector has D = phases + resources + capacities components, and the cost of a placement is the sum of its parts' vectors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.evaluate import Breakdown
from partitioner.placement.problem import Problem, Variant


def vector_size(problem: Problem) -> int:
    """Returns D."""
    return len(problem.phases) + len(problem.resources) + len(problem.capacities)


def variant_vector(problem: Problem, variant: Variant) -> NDArray[np.float64]:
    """Returns the vector [D] of a variant, without moves."""
    busy = np.zeros(len(problem.resources))
    for resource, seconds in variant.busy:
        busy[resource] += seconds
    memory = np.zeros(len(problem.capacities))
    memory[: len(variant.memory)] = variant.memory
    return np.concatenate([variant.seconds, busy, memory])


def variant_vectors(problem: Problem, variants: Sequence[Variant]) -> NDArray[np.float64]:
    """Returns the vectors [V D] of some variants, without moves."""
    busy = np.zeros((len(variants), len(problem.resources)))
    for row, variant in enumerate(variants):
        for resource, seconds in variant.busy:
            busy[row, resource] += seconds
    seconds = np.array([v.seconds for v in variants], np.float64).reshape(len(variants), len(problem.phases))
    length = min((len(v.memory) for v in variants), default=0)
    memory = np.zeros((len(variants), len(problem.capacities)))
    memory[:, :length] = np.array([v.memory[:length] for v in variants], np.float64)
    for row, variant in enumerate(variants):
        memory[row, length : len(variant.memory)] = variant.memory[length:]
    return np.concatenate([seconds, busy, memory], axis=1)


def breakdown_vector(parts: Breakdown) -> NDArray[np.float64]:
    """Returns the vector [D] of a whole placement."""
    return np.concatenate([parts.chain_s, parts.busy_s, parts.memory_bytes])


def first_tier_component(problem: Problem) -> int:
    """Returns the index of the bytes on the first tier."""
    return len(problem.phases) + len(problem.resources)
