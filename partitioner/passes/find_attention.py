"""Finds attention by dataflow: cache updates, the two contractions with the updated caches, and what lies between them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import jax.numpy as jnp

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import Unraised
from partitioner.jaxpr import Eqn, Literal, Var, dtype_of, variables
from partitioner.passes.split_equations import VIEWS, SplitEquations

_UPDATES = {"dynamic_update_slice": 1, "scatter": 2, "select_n": None}


@dataclass(frozen=True)
class CacheWrite:
    """Describes how one cache is updated.

    Attributes:
        name: State name.
        before: The state as it comes in.
        after: The state as it goes out.
        new: What is written into it.
        update: Equations from ``before`` to ``after``.
    """

    name: str
    before: Var
    after: Var
    new: Var
    update: tuple[Eqn, ...]


@dataclass(frozen=True)
class CacheUse(CacheWrite):
    """Describes how one cache is updated and contracted.

    Attributes:
        views: Equations from ``after`` to the contraction's operand.
        contraction: The ``dot_general``.
        operand: Which of its operands is the cache.
    """

    views: tuple[Eqn, ...]
    contraction: Eqn
    operand: int


@dataclass(frozen=True)
class AttentionRegion:
    """Holds the equations of one attention: both updates, q.K^T, what makes probabilities of it, and p.V.

    Attributes:
        key: The K cache.
        value: The V cache.
        query: The other operand of q.K^T.
        output: The result of p.V.
        equations: The region in execution order, without index arithmetic.
    """

    key: CacheUse
    value: CacheUse
    query: Var
    output: Var
    equations: tuple[Eqn, ...]


class _Dataflow:
    """Indexes who makes and who reads each variable."""

    def __init__(self, equations: Iterable[Eqn]) -> None:
        self.order = {id(e): i for i, e in enumerate(equations)}
        self.maker: dict[Var, Eqn] = {}
        self.readers: dict[Var, list[Eqn]] = {}
        for e in equations:
            for v in e.outvars:
                self.maker[v] = e
            for v in set(variables(e.invars)):
                self.readers.setdefault(v, []).append(e)

    def sorted(self, equations: Iterable[Eqn]) -> tuple[Eqn, ...]:
        unique = {id(e): e for e in equations}
        return tuple(sorted(unique.values(), key=lambda e: self.order[id(e)]))


def find_attention(
    phase: TracedPhase, split: SplitEquations
) -> tuple[tuple[AttentionRegion, ...], tuple[Unraised, ...]]:
    """Returns the attention regions in execution order, and the caches whose attention was not found with the reason."""
    flow = _Dataflow(split.data)
    uses: list[CacheUse] = []
    unraised: list[Unraised] = []
    for write in find_cache_writes(phase, split):
        found = _cache_use(flow, write) if isinstance(write, CacheWrite) else write
        if isinstance(found, CacheUse):
            uses.append(found)
        else:
            unraised.append(found)
    regions: list[AttentionRegion] = []
    failed: list[Unraised] = []
    paired: set[str] = set()
    met: set[str] = set()
    for key in uses:
        reached = _first_contractions(flow, key.contraction)
        partner = next((u for u in uses if u is not key and id(u.contraction) in reached), None)
        if partner is None:
            continue
        met |= {key.name, partner.name}
        region = _region(flow, split, key, partner)
        if isinstance(region, Unraised):
            failed.append(region)
        else:
            regions.append(region)
            paired |= {key.name, partner.name}
    unraised += [u for u in failed if u.name not in paired]
    unraised += [
        Unraised(
            u.name, "its contraction neither leads to, nor follows from, a contraction with another cache"
        )
        for u in uses
        if u.name not in met
    ]
    regions.sort(key=lambda r: flow.order[id(r.value.contraction)])
    return tuple(regions), tuple(unraised)


def find_cache_writes(phase: TracedPhase, split: SplitEquations) -> tuple[CacheWrite | Unraised, ...]:
    """Returns how each cache is updated, or why that cannot be followed."""
    flow = _Dataflow(split.data)
    after = {o.name: o.atom for o in phase.outputs if o.role == "cache"}
    return tuple(_cache_write(flow, i.name, i.var, after[i.name]) for i in phase.inputs if i.role == "cache")


def _cache_write(flow: _Dataflow, name: str, before: Var, after: object) -> CacheWrite | Unraised:
    if not jnp.issubdtype(dtype_of(before), jnp.floating):
        return Unraised(name, f"its entries are {dtype_of(before)}; only floating-point caches are raised")
    if not isinstance(after, Var) or after is before:
        return Unraised(name, "the cache is returned as it came")
    update: list[Eqn] = []
    new: Var | None = None
    var: Var = after
    while var is not before:
        eqn = flow.maker.get(var)
        if eqn is None or eqn.primitive.name not in {*_UPDATES, *VIEWS}:
            shown = "an input" if eqn is None else f"`{eqn.primitive.name}`"
            return Unraised(
                name, f"the cache is not written by dynamic_update_slice, scatter or select, but by {shown}"
            )
        update.append(eqn)
        operands = variables(eqn.invars)
        if eqn.primitive.name in VIEWS:
            var = operands[0]
            continue
        if new is not None:
            return Unraised(name, "the cache is written more than once in a step")
        carried, written = _carried_and_written(flow, eqn, before)
        if carried is None or written is None:
            return Unraised(name, f"cannot tell the old cache from the new entries in `{eqn.primitive.name}`")
        var, new = carried, written
        while (spread := flow.maker.get(new)) is not None and spread.primitive.name == "broadcast_in_dim":
            update.append(spread)
            new = variables(spread.invars)[0]
    if new is None:
        return Unraised(name, "the cache is reshaped but never written")
    return CacheWrite(name, before, after, new, flow.sorted(update))


def _cache_use(flow: _Dataflow, write: CacheWrite) -> CacheUse | Unraised:
    contractions = _contractions_of(flow, write.after)
    if len(contractions) != 1:
        return Unraised(
            write.name,
            f"the updated cache enters {len(contractions)} contractions (dot_general), expected one",
        )
    contraction, operand, views = contractions[0]
    return CacheUse(
        write.name,
        write.before,
        write.after,
        write.new,
        write.update,
        flow.sorted(views),
        contraction,
        operand,
    )


def _carried_and_written(flow: _Dataflow, eqn: Eqn, before: Var) -> tuple[Var | None, Var | None]:
    atoms = list(eqn.invars)
    position = _UPDATES[eqn.primitive.name]
    if position is not None:
        carried, written = atoms[0], atoms[position]
    else:
        cases = [a for a in atoms[1:] if not isinstance(a, Literal)]
        old = [a for a in cases if _comes_from(flow, a, before)]
        others = [a for a in cases if a not in old]
        if len(old) != 1 or len(others) != 1:
            return None, None
        carried, written = old[0], others[0]
    if isinstance(carried, Literal) or isinstance(written, Literal):
        return None, None
    return carried, written


def _comes_from(flow: _Dataflow, var: Var, source: Var) -> bool:
    while var is not source:
        eqn = flow.maker.get(var)
        if eqn is None or eqn.primitive.name not in VIEWS:
            return False
        var = variables(eqn.invars)[0]
    return True


def _contractions_of(flow: _Dataflow, var: Var) -> list[tuple[Eqn, int, list[Eqn]]]:
    found: list[tuple[Eqn, int, list[Eqn]]] = []
    pending: list[tuple[Var, list[Eqn]]] = [(var, [])]
    while pending:
        current, views = pending.pop()
        for eqn in flow.readers.get(current, ()):
            if eqn.primitive.name == "dot_general":
                found += [(eqn, i, views) for i, a in enumerate(eqn.invars) if a is current]
            elif eqn.primitive.name in VIEWS:
                pending.append((eqn.outvars[0], [*views, eqn]))
    return found


def _first_contractions(flow: _Dataflow, start: Eqn) -> dict[int, Eqn]:
    """Returns the dot_generals that the result of ``start`` reaches with no other dot_general in between."""
    found: dict[int, Eqn] = {}
    pending = list(start.outvars)
    seen = set(pending)
    while pending:
        for eqn in flow.readers.get(pending.pop(), ()):
            if eqn.primitive.name == "dot_general":
                found[id(eqn)] = eqn
                continue
            fresh = [v for v in eqn.outvars if v not in seen]
            seen.update(fresh)
            pending += fresh
    return found


def _region(
    flow: _Dataflow, split: SplitEquations, key: CacheUse, value: CacheUse
) -> AttentionRegion | Unraised:
    between = _between(flow, key.contraction, value.contraction)
    equations = flow.sorted(
        [
            *key.update,
            *key.views,
            key.contraction,
            *between,
            *value.update,
            *value.views,
            value.contraction,
        ]
    )
    query = key.contraction.invars[1 - key.operand]
    if isinstance(query, Literal):
        return Unraised(key.name, "q is a constant")
    output = value.contraction.outvars[0]
    inside = {v for e in equations for v in e.outvars}
    members = {id(e) for e in equations}
    allowed = {query, key.new, value.new, key.before, value.before}
    for eqn in equations:
        for v in variables(eqn.invars):
            if v not in inside and v not in allowed and v not in split.index_vars:
                return Unraised(key.name, f"beyond q, k, v and positions it reads {v.aval} in: {_short(eqn)}")
    escaping = inside - {output, key.after, value.after}
    for v in escaping:
        for reader in flow.readers.get(v, ()):
            if id(reader) not in members:
                return Unraised(
                    key.name, f"an inner value {v.aval} is also read outside, in: {_short(reader)}"
                )
    return AttentionRegion(key, value, query, output, equations)


def _between(flow: _Dataflow, first: Eqn, last: Eqn) -> list[Eqn]:
    forward: dict[int, Eqn] = {}
    pending = list(first.outvars)
    while pending:
        for eqn in flow.readers.get(pending.pop(), ()):
            if eqn is not last and id(eqn) not in forward and flow.order[id(eqn)] < flow.order[id(last)]:
                forward[id(eqn)] = eqn
                pending += eqn.outvars
    backward: list[Eqn] = []
    pending = variables(last.invars)
    seen: set[int] = set()
    while pending:
        eqn = flow.maker.get(pending.pop())
        if eqn is not None and id(eqn) in forward and id(eqn) not in seen:
            seen.add(id(eqn))
            backward.append(eqn)
            pending += variables(eqn.invars)
    return backward


def _short(eqn: Eqn) -> str:
    text = " ".join(str(eqn).split())
    return text if len(text) <= 120 else text[:117] + "..."
