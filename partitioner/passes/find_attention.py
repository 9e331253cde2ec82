"""Finds attention by dataflow: the two contractions with a pair of updated caches, and what lies between them."""

from __future__ import annotations

from dataclasses import dataclass

from partitioner.dataflow import Dataflow
from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import Unraised
from partitioner.jaxpr import Eqn, Literal, Var, dtype_of, variables
from partitioner.passes.find_cache_writes import CacheWrite, find_cache_writes
from partitioner.passes.split_equations import VIEWS, SplitEquations


@dataclass(frozen=True)
class CacheUse(CacheWrite):
    """Describes how one cache is updated and contracted.

    Attributes:
        views: Equations from ``written`` to the contraction's operand.
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
        output: The result of p.V, in the smaller dtype that it is converted to at once, if it is.
        equations: The region in execution order, without index arithmetic.
    """

    key: CacheUse
    value: CacheUse
    query: Var
    output: Var
    equations: tuple[Eqn, ...]


def find_attention(
    phase: TracedPhase, split: SplitEquations
) -> tuple[tuple[AttentionRegion, ...], tuple[Unraised, ...]]:
    """Returns the attention regions in execution order, and the caches whose attention was not found with the reason."""
    flow = split.flow
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
    place = {id(u): n for n, u in enumerate(uses)}
    contracting: dict[int, list[CacheUse]] = {}
    for use in uses:
        contracting.setdefault(id(use.contraction), []).append(use)
    for key in uses:
        reached = _first_contractions(flow, key.contraction)
        others = [u for n in reached for u in contracting.get(n, ()) if u is not key]
        partner = min(others, key=lambda u: place[id(u)], default=None)
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


def _cache_use(flow: Dataflow, write: CacheWrite) -> CacheUse | Unraised:
    contractions = _contractions_of(flow, write.written)
    if len(contractions) != 1:
        reason = f"the updated cache enters {len(contractions)} contractions (dot_general), expected one"
        readers = [eqn for eqn, *_ in contractions] or _first_changes(flow, write.written)
        if readers:
            reason += ", and is read in: " + "; ".join(map(_short, readers[:2]))
        return Unraised(write.name, reason)
    contraction, operand, views = contractions[0]
    return CacheUse(
        write.name,
        write.before,
        write.written,
        write.after,
        write.new,
        write.update,
        flow.sorted(views),
        contraction,
        operand,
    )


def _contractions_of(flow: Dataflow, var: Var) -> list[tuple[Eqn, int, list[Eqn]]]:
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


def _first_changes(flow: Dataflow, var: Var) -> list[Eqn]:
    """Returns the equations that read a cache through views alone and are no views themselves."""
    found: list[Eqn] = []
    pending = [var]
    while pending:
        for eqn in flow.readers.get(pending.pop(), ()):
            if eqn.primitive.name in VIEWS:
                pending += eqn.outvars
            else:
                found.append(eqn)
    return found


def _first_contractions(flow: Dataflow, start: Eqn) -> dict[int, Eqn]:
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
    flow: Dataflow, split: SplitEquations, key: CacheUse, value: CacheUse
) -> AttentionRegion | Unraised:
    between = _between(flow, key.contraction, value.contraction)
    output, narrowed = _narrowed(flow, value.contraction.outvars[0])
    equations = flow.sorted(
        [
            *key.update,
            *key.views,
            key.contraction,
            *between,
            *value.update,
            *value.views,
            value.contraction,
            *narrowed,
        ]
    )
    query = key.contraction.invars[1 - key.operand]
    if isinstance(query, Literal):
        return Unraised(key.name, "q is a constant")
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


def _narrowed(flow: Dataflow, output: Var) -> tuple[Var, list[Eqn]]:
    """Returns what p.V is handed on as, and the conversion to a smaller dtype if that is all that reads it."""
    readers = flow.readers.get(output, [])
    if len(readers) == 1 and readers[0].primitive.name == "convert_element_type":
        narrow = readers[0].outvars[0]
        if dtype_of(narrow).itemsize < dtype_of(output).itemsize:
            return narrow, [readers[0]]
    return output, []


def _between(flow: Dataflow, first: Eqn, last: Eqn) -> list[Eqn]:
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
