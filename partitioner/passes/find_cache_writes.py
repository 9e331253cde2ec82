"""Finds cache updates by dataflow: an output that reaches the input of its name through an update and views."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from partitioner.dataflow import Dataflow
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
        written: What the update itself makes; the state goes out as a view of it.
        after: The state as it goes out.
        new: What is written into it.
        update: Equations from ``before`` to ``after``.
    """

    name: str
    before: Var
    written: Var
    after: Var
    new: Var
    update: tuple[Eqn, ...]


def find_cache_writes(phase: TracedPhase, split: SplitEquations) -> tuple[CacheWrite | Unraised, ...]:
    """Returns how each cache is updated, or why that cannot be followed."""
    flow = split.flow
    after = {o.name: o.atom for o in phase.outputs if o.role == "cache"}
    return tuple(_cache_write(flow, i.name, i.var, after[i.name]) for i in phase.inputs if i.role == "cache")


def _cache_write(flow: Dataflow, name: str, before: Var, after: object) -> CacheWrite | Unraised:
    if not jnp.issubdtype(dtype_of(before), jnp.floating):
        return Unraised(name, f"its entries are {dtype_of(before)}; only floating-point caches are raised")
    if not isinstance(after, Var) or after is before:
        return Unraised(name, "the cache is returned as it came")
    update: list[Eqn] = []
    new: Var | None = None
    written: Var = after
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
        carried, entries = _carried_and_new(flow, eqn, before)
        if carried is None or entries is None:
            return Unraised(name, f"cannot tell the old cache from the new entries in `{eqn.primitive.name}`")
        written, var, new = var, carried, entries
        while (spread := flow.maker.get(new)) is not None and spread.primitive.name == "broadcast_in_dim":
            update.append(spread)
            new = variables(spread.invars)[0]
    if new is None:
        return Unraised(name, "the cache is reshaped but never written")
    return CacheWrite(name, before, written, after, new, flow.sorted(update))


def _carried_and_new(flow: Dataflow, eqn: Eqn, before: Var) -> tuple[Var | None, Var | None]:
    atoms = list(eqn.invars)
    position = _UPDATES[eqn.primitive.name]
    if position is not None:
        carried, entries = atoms[0], atoms[position]
    else:
        cases = [a for a in atoms[1:] if not isinstance(a, Literal)]
        old = [a for a in cases if _comes_from(flow, a, before)]
        others = [a for a in cases if a not in old]
        if len(old) != 1 or len(others) != 1:
            return None, None
        carried, entries = old[0], others[0]
    if isinstance(carried, Literal) or isinstance(entries, Literal):
        return None, None
    return carried, entries


def _comes_from(flow: Dataflow, var: Var, source: Var) -> bool:
    while var is not source:
        eqn = flow.maker.get(var)
        if eqn is None or eqn.primitive.name not in VIEWS:
            return False
        var = variables(eqn.invars)[0]
    return True
