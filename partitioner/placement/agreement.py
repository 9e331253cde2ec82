"""Weights that several ops use have one home: said as limits on sums, so that one problem is solved for all homes.

Where each op has a home of its own choice for shared weights, the problem folds. That all choose alike is a limit for each home
h, with n ops besides the owner, of whom the memory is charged::

    (ops besides the owner whose home is h)  +  n * (the owner's home is not h)  <=  n

so an op may have the home h only where the owner has it. Sums are in bytes, larger than all that a model keeps, so that a
placement which lacks memory never saves by disagreeing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from partitioner.placement.build import BuiltProblem
from partitioner.placement.problem import Block, Problem, Stage
from partitioner.placement.variant_list import Variant

Place = tuple[int, int]
"""A stage and a choice of its block."""


def agreeing(built: BuiltProblem, users: Mapping[str, tuple[int, ...]]) -> Problem | None:
    """Returns the problem with the limits, or None where instances of one block use different weights of this kind.

    Args:
        built: The problem; every op chooses among all homes.
        users: For each shared parameter the pairs of the ops that use it, its owner first.
    """
    problem, home_at = built.problem, len(built.problem.phases)
    everything = _everything(problem)
    added: dict[Place, dict[int, list[float]]] = {}
    limits: list[float] = []
    for owner, *others in users.values():
        places = [_place(built, pair) for pair in (owner, *others)]
        count = {place: places.count(place) for place in places}
        if any(n != problem.stages[stage].count for (stage, _), n in count.items()) or count[places[0]] != 1:
            return None
        homes = sorted({v.key[home_at] for place in count for v in _variants(problem, place)} - {"-"})
        for home in homes if len(homes) > 1 else ():
            for place in count:
                owns = place == places[0]
                sums = added.setdefault(place, {})
                for index, variant in enumerate(_variants(problem, place)):
                    here = variant.key[home_at]
                    adds = len(others) * (here != home) if owns else here == home
                    row = sums.setdefault(index, [])
                    row += [0.0] * (len(limits) - len(row)) + [adds * everything]
            limits.append(len(others) * everything)
    stages = tuple(
        Stage(_with_sums(stage.block, {c: s for (n, c), s in added.items() if n == position}), stage.count)
        for position, stage in enumerate(problem.stages)
    )
    return replace(problem, capacities=(*problem.capacities, *limits), stages=stages)


def _with_sums(block: Block, added: Mapping[int, Mapping[int, list[float]]]) -> Block:
    """Returns a block in which variants of some choices add to further sums."""
    if not added:
        return block
    choices = list(block.choices)
    for number, sums in added.items():
        variants = (replace(v, memory=(*v.memory, *sums[n])) for n, v in enumerate(choices[number].variants))
        choices[number] = replace(choices[number], variants=tuple(variants))
    return replace(block, choices=tuple(choices))


def _everything(problem: Problem) -> float:
    """Returns more bytes than the largest variants of all ops keep."""
    return 1.0 + sum(
        stage.count * sum(max(map(sum, c.numbers.memory.tolist())) for c in stage.block.choices)
        for stage in problem.stages
    )


def _variants(problem: Problem, place: Place) -> Sequence[Variant]:
    stage, choice = place
    return problem.stages[stage].block.choices[choice].variants


def _place(built: BuiltProblem, pair: int) -> Place:
    """Returns stage and choice of a pair."""
    for stage, (first, length, count) in enumerate(built.ranges):
        if first <= pair < first + length * count:
            return stage, (pair - first) % length
    raise ValueError(f"the problem has no pair {pair}")
