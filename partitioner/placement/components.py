"""Cost vectors: seconds in the chain of each phase, load of each resource, what capacities limit, in this order.

A vector has D = phases + resources + capacities components, and the cost of a placement is the sum of its parts' vectors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.evaluate import Breakdown
from partitioner.placement.problem import Choice, Problem
from partitioner.placement.variant_list import Variant


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


def variant_vectors(problem: Problem, choice: Choice) -> NDArray[np.float64]:
    """Returns the vectors [V D] of the variants of a choice, without moves."""
    numbers, num_phases = choice.numbers, len(problem.phases)
    vectors = np.zeros((len(choice.variants), vector_size(problem)))
    vectors[:, :num_phases] = numbers.seconds
    np.add.at(vectors, (numbers.row, num_phases + numbers.resource), numbers.load_s)
    first = num_phases + len(problem.resources)
    vectors[:, first : first + numbers.memory.shape[1]] = numbers.memory
    return vectors


def breakdown_vector(parts: Breakdown) -> NDArray[np.float64]:
    """Returns the vector [D] of a whole placement."""
    return np.concatenate([parts.chain_s, parts.busy_s, parts.memory_bytes])


def first_tier_component(problem: Problem) -> int:
    """Returns the index of the bytes on the first tier."""
    return len(problem.phases) + len(problem.resources)
