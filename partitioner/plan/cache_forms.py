"""Brings the op graphs of a model into the form that decisions on its caches ask for."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from partitioner.errors import PlanError
from partitioner.front import Traced
from partitioner.passes.keep_inputs import keep_inputs
from partitioner.passes.kv_sources import KvSource
from partitioner.passes.set_sparsity import attend_exactly
from partitioner.plan.decisions import Decision


def exact_off_the_drives(traced: Traced, decisions: Mapping[str, Decision]) -> Traced:
    """Returns a traced model in which only attentions that drives have a part in are sparse."""
    sparse = {op.name for op in traced.graphs[-1].ops if op.attention and op.attention.sparsity}
    elsewhere = {
        name
        for name in sparse
        if decisions[name].tier("decode") != "csd" and "csd" not in dict(decisions[name].split)
    }
    return dataclasses.replace(traced, graphs=attend_exactly(traced.graphs, elsewhere))


def with_kept_inputs(traced: Traced, decisions: Mapping[str, Decision]) -> Traced:
    """Returns a traced model whose attentions keep what decisions say.

    Raises:
        PlanError: If K and V of an attention cannot be made again of the input of its layer.
    """
    sources: dict[str, KvSource] = {}
    for name, decision in decisions.items():
        if decision.form == "kv":
            continue
        known = name in traced.kv_sources.candidates or name in traced.kv_sources.missing
        found = traced.kv_sources.proved(name) if known else "it is no attention"
        if isinstance(found, str):
            raise PlanError(f"keeps the input of the layer of {name!r} in place of K and V: {found}")
        sources[name] = found
    if not sources:
        return traced
    return dataclasses.replace(traced, graphs=keep_inputs(traced.graphs, sources))
