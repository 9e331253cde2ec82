"""Finds what K and V are made of: the one value of a layer that, with weights and positions, gives both rows of a token.

The values that K and V depend on are followed backwards, the latest first. Whenever a single one is left, everything that K and
V hold of the tokens goes through it, so that a cache may keep it in their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from partitioner.dataflow import Dataflow
from partitioner.frontend.trace import TracedPhase
from partitioner.jaxpr import Eqn, Var, borders, num_bytes
from partitioner.passes.split_equations import SplitEquations

_CONTROL = frozenset({"scan", "while", "cond"})


@dataclass(frozen=True)
class KvPath:
    """Holds how one value becomes others that belong to the same tokens.

    Attributes:
        source: The value.
        targets: What is made of it: the new K and V, or the caches that hold them.
        equations: From ``source`` to ``targets``, with the index arithmetic and parameter views they need.
        inputs: What the equations read beside ``source``.
    """

    source: Var
    targets: tuple[Var, Var]
    equations: tuple[Eqn, ...]
    inputs: tuple[Var, ...]


def find_kv_sources(split: SplitEquations, new: tuple[Var, Var]) -> tuple[Var, ...]:
    """Returns the values through which all goes that K and V hold of the tokens, the nearest first.

    The search ends before the matrix product that makes a value smaller than K and V, and where an input that holds tokens, as
    the cache of an earlier layer, is one of several values.

    Args:
        split: The phase's equations, sorted.
        new: The new K and V.
    """
    return walk_to_sources(split, new)[0]


def walk_to_sources(split: SplitEquations, new: tuple[Var, Var]) -> tuple[tuple[Var, ...], Eqn | None]:
    """Returns what :func:`find_kv_sources` does, and the earliest equation that was looked at."""
    flow, order = split.flow, split.flow.order
    index, params = split.index_vars, split.param_vars
    found: list[Var] = []
    frontier = set(new)
    limit = sum(num_bytes(v) for v in new)
    last: Eqn | None = None
    while frontier:
        if len(frontier) == 1:
            found += frontier
        makers = [flow.maker.get(v) for v in frontier]
        eqn = makers[0] if len(makers) == 1 else max(makers, key=lambda e: -1 if e is None else order[id(e)])
        last = last if eqn is None else eqn
        if eqn is None or eqn.effects or eqn.primitive.name in _CONTROL:
            break
        if len(makers) > 1 and None in makers:
            break  # an input of the phase that holds tokens: with it, no single value will be left again
        if eqn.primitive.name == "dot_general" and any(num_bytes(v) < limit for v in found):
            break
        frontier.difference_update(eqn.outvars)
        frontier.update([v for v in flow.reads[id(eqn)] if v not in index and v not in params])
    return tuple(found), last


def kv_path(flow: Dataflow, source: Var, targets: tuple[Var, Var]) -> KvPath:
    """Returns the equations from a source to what is made of it.

    Args:
        flow: Of all equations of the phase.
        source: One of :func:`find_kv_sources`.
        targets: What is made of it.
    """
    equations = _between(flow, source, targets)
    inputs = tuple(v for v in borders(equations, flow.reads) if v is not source)
    return KvPath(source, targets, equations, inputs)


def foreign_input(phase: TracedPhase, path: KvPath, allowed: Iterable[str]) -> str | None:
    """Returns what a path reads that is neither of some roles nor an index input told from the position alone."""
    roles = set(allowed)
    for v in path.inputs:
        described = phase.input_of.get(v)
        if described is None:
            return "a value made before"
        if described.role not in roles or described.name == "logits_at":
            return f"{described.role} {described.name!r}"
    return None


def _between(flow: Dataflow, source: Var, targets: Sequence[Var]) -> tuple[Eqn, ...]:
    found: dict[int, Eqn] = {}
    pending = [v for v in targets if v is not source]
    while pending:
        eqn = flow.maker.get(pending.pop())
        if eqn is not None and id(eqn) not in found:
            found[id(eqn)] = eqn
            pending += [v for v in flow.reads[id(eqn)] if v is not source]
    return flow.sorted(found.values())
