"""Weights that several ops use live in one place: makes a placement agree on it that was found as if each op could choose.

Where each op has a home of its own choice for shared weights, the problem folds and is solved once for all homes; no placement
with one home for all is better than that. The owner, which is charged with the memory, mostly decides: an op that gathers some
rows of an embedding follows the head that reads all of it at next to no cost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from partitioner.placement.build import BuiltProblem
from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.problem import Problem, Solution, Variant

NEAR = 4e-5
"""Relative distance from the solution within which one that agrees is as good."""


def agree(
    built: BuiltProblem, counted: Problem, solution: Solution, users: Mapping[str, tuple[int, ...]]
) -> Solution | None:
    """Returns a solution in which shared weights have the home their owner gives them, or None where that is worse.

    Args:
        built: The problem.
        counted: The same in what is minimised; ``solution`` is of it.
        solution: Its solution.
        users: For each shared parameter the pairs of the ops that use it, its owner first.
    """
    chosen = solution.chosen
    home_at = len(built.problem.phases)
    for owner, *others in users.values():
        home = _variant(built, chosen, owner).key[home_at]
        for other in others:
            variant = _variant(built, chosen, other)
            if variant.key[home_at] in (home, "-"):
                continue
            stage, instance, choice = _place(built, other)
            variants = built.problem.stages[stage].block.choices[choice].variants
            fit = [n for n, v in enumerate(variants) if v.key[home_at] == home]
            if not fit:
                return None
            nearest = min(fit, key=lambda n: (variants[n].tiers != variant.tiers, sum(variants[n].seconds)))
            chosen = _replaced(chosen, (stage, instance, choice), nearest)
    if chosen == solution.chosen:
        return solution
    parts = breakdown(counted, chosen)
    near = parts.objective_s <= solution.objective * (1 + NEAR)
    if not near or any(parts.shortfall(built.problem.capacities)):
        return None
    return replace(solution, chosen=chosen, objective=parts.objective_s)


def owner_home(built: BuiltProblem, solution: Solution, users: Mapping[str, tuple[int, ...]]) -> str:
    """Returns the home that the first shared parameter's owner gives it in a solution; empty where there is none."""
    owner = next((owner for owner, *_ in users.values()), None)
    if owner is None:
        return ""
    return _variant(built, solution.chosen, owner).key[len(built.problem.phases)]


def _place(built: BuiltProblem, pair: int) -> tuple[int, int, int]:
    """Returns stage, instance and choice of a pair."""
    for stage, (first, length, count) in enumerate(built.ranges):
        if first <= pair < first + length * count:
            return stage, *divmod(pair - first, length)
    raise ValueError(f"the problem has no pair {pair}")


def _variant(built: BuiltProblem, chosen: Chosen, pair: int) -> Variant:
    stage, instance, choice = _place(built, pair)
    return built.problem.stages[stage].block.choices[choice].variants[chosen[stage][instance][choice]]


def _replaced(chosen: Chosen, place: tuple[int, int, int], index: int) -> Chosen:
    stage, instance, choice = place
    rows = [list(picks) for picks in chosen[stage]]
    rows[instance][choice] = index
    return (*chosen[:stage], tuple(tuple(row) for row in rows), *chosen[stage + 1 :])
