"""Raises attention: finds regions, infers their axes, and confirms them on a small probe trace of the same step."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import Unraised
from partitioner.ir.op import Attention
from partitioner.jaxpr import Eqn, shape_of, signature, variables
from partitioner.passes.find_attention import AttentionRegion, find_attention
from partitioner.passes.infer_layout import LayoutError, RegionLayout, infer_layout
from partitioner.passes.run_region import RegionRunner
from partitioner.passes.split_equations import SplitEquations, split_equations
from partitioner.passes.validate_attention import ValidationError, validate_attention


@dataclass(frozen=True)
class RaisedAttention:
    """Joins an attention's description with its equations (index arithmetic not among them)."""

    attention: Attention
    equations: tuple[Eqn, ...]


def raise_decode_attention(
    phase: TracedPhase, split: SplitEquations, probe: TracedPhase
) -> tuple[tuple[RaisedAttention, ...], tuple[Unraised, ...]]:
    """Returns the confirmed attentions of a decode step in execution order, and what stays unraised with the reason.

    Args:
        phase: The decode trace at the workload's sizes.
        split: Its equations, sorted.
        probe: The same step traced at a small batch and length, on which regions are run.
    """
    regions, unraised = find_attention(phase, split)
    probe_split = split_equations(probe)
    small = {r.key.name: r for r in find_attention(probe, probe_split)[0]}
    confirmed: dict[Any, tuple[RegionLayout, float] | str] = {}
    raised: list[RaisedAttention] = []
    left = list(unraised)
    for region in regions:
        twin = small.get(region.key.name)
        if twin is None:
            left.append(
                Unraised(region.key.name, "the step traces differently at a small batch and length")
            )
            continue
        inputs = [twin.query, twin.key.new, twin.value.new, twin.key.before, twin.value.before]
        inputs += sorted(
            {v for e in twin.equations for v in variables(e.invars) if v in probe_split.index_vars},
            key=lambda v: _first_use(twin, v),
        )
        form = signature(twin.equations, inputs, [twin.output, twin.key.after, twin.value.after])
        if form not in confirmed:
            confirmed[form] = _confirm(twin, probe, probe_split, region, phase)
        result = confirmed[form]
        if isinstance(result, str):
            left.append(Unraised(region.key.name, result))
        else:
            raised.append(RaisedAttention(_describe(region, len(raised), *result), region.equations))
    return tuple(raised), tuple(left)


def raise_prefill_attention(
    phase: TracedPhase, split: SplitEquations, decode: tuple[RaisedAttention, ...]
) -> tuple[RaisedAttention, ...]:
    """Returns the prefill's attentions whose caches belong to a confirmed decode attention.

    Prefill attention always runs its own equations, so that the pairing by cache names is all that is needed.
    """
    known = {(d.attention.key_cache, d.attention.value_cache): d.attention for d in decode}
    found: list[RaisedAttention] = []
    for region in find_attention(phase, split)[0]:
        twin = known.get((region.key.name, region.value.name))
        if twin is not None:
            attention = dataclasses.replace(
                twin,
                query=region.query,
                new_key=region.key.new,
                new_value=region.value.new,
                output=region.output,
            )
            found.append(RaisedAttention(attention, region.equations))
    return tuple(found)


def _confirm(
    twin: AttentionRegion,
    probe: TracedPhase,
    split: SplitEquations,
    region: AttentionRegion,
    phase: TracedPhase,
) -> tuple[RegionLayout, float] | str:
    runner = RegionRunner(twin, probe, split.index)
    try:
        layout = infer_layout(runner, shape_of(region.key.before), phase)
        return layout, validate_attention(runner, layout)
    except (LayoutError, ValidationError) as error:
        return str(error)


def _describe(region: AttentionRegion, layer: int, layout: RegionLayout, scale: float) -> Attention:
    cache: Any = region.key.before.aval
    return Attention(
        layer=layer,
        key_cache=region.key.name,
        value_cache=region.value.name,
        num_heads=layout.num_heads,
        num_kv_heads=layout.num_kv_heads,
        head_size=layout.head_size,
        scale=scale,
        cache_dtype=cache.dtype.name,
        query=region.query,
        new_key=region.key.new,
        new_value=region.value.new,
        output=region.output,
        query_layout=layout.query,
        new_layout=layout.new,
        cache_layout=layout.cache,
        output_layout=layout.output,
    )


def _first_use(region: AttentionRegion, var: Any) -> tuple[int, int]:
    for i, e in enumerate(region.equations):
        for j, a in enumerate(e.invars):
            if a is var:
                return i, j
    return len(region.equations), 0
