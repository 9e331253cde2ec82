"""Raises attention: finds regions, and describes those that are confirmed, each form of them once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from partitioner.frontend.trace import TracedPhase
from partitioner.frontend.traced import TracedInput
from partitioner.ir.graph import Unraised
from partitioner.ir.op import Attention
from partitioner.jaxpr import Eqn, Var, borders, bytes_of, dtype_of
from partitioner.passes.confirm_attention import Confirmer
from partitioner.passes.find_attention import AttentionRegion, find_attention
from partitioner.passes.find_cache_writes import find_cache_writes
from partitioner.passes.infer_layout import RegionLayout
from partitioner.passes.logit_rule import LogitRule
from partitioner.passes.repeated_groups import Parts, RepeatedGroups
from partitioner.passes.split_equations import SplitEquations


@dataclass(frozen=True)
class RaisedAttention:
    """Joins an attention's description with its equations (index arithmetic not among them)."""

    attention: Attention
    equations: tuple[Eqn, ...]


def raise_decode_attention(
    phase: TracedPhase, split: SplitEquations, trace_probe: Callable[[int, int], TracedPhase]
) -> tuple[tuple[RaisedAttention, ...], tuple[Unraised, ...]]:
    """Returns the confirmed attentions of a decode step in execution order, and what stays unraised with the reason.

    Args:
        phase: The decode trace at the workload's sizes.
        split: Its equations, sorted.
        trace_probe: Traces the same step at a given batch and length; called only where regions cannot be shrunk.
    """
    regions, unraised = find_attention(phase, split)
    confirmer = Confirmer(phase, split, trace_probe)
    confirmed: dict[Hashable, tuple[RegionLayout, LogitRule] | str] = {}
    raised: list[RaisedAttention] = []
    left = list(unraised)
    for region, form in zip(regions, _forms(regions, phase, split), strict=True):
        if form not in confirmed:
            confirmed[form] = confirmer.confirm(region)
        result = confirmed[form]
        if isinstance(result, str):
            left.append(Unraised(region.key.name, result))
        else:
            raised.append(RaisedAttention(_describe(region, len(raised), *result), region.equations))
    return tuple(raised), tuple(left)


def raise_prefill_attention(
    phase: TracedPhase, split: SplitEquations, decode: Sequence[RaisedAttention]
) -> tuple[tuple[RaisedAttention, ...], tuple[Unraised, ...]]:
    """Returns the prefill's attentions whose caches belong to confirmed decode attentions, and those it has none for.

    Prefill attention always runs its own equations, so that the pairing by cache names is all that is needed. One that does not
    read the caches, but K and V as they are made, is raised as far as it writes the caches: its query then is the new keys, and
    its output the V cache.
    """
    regions = {(r.key.name, r.value.name): r for r in find_attention(phase, split)[0]}
    writes = {w.name: w for w in find_cache_writes(phase, split)}
    found: list[RaisedAttention] = []
    lost: list[Unraised] = []
    for twin in (d.attention for d in decode):
        region = regions.get((twin.key_cache, twin.value_cache))
        key, value = writes[twin.key_cache], writes[twin.value_cache]
        if isinstance(key, Unraised) or isinstance(value, Unraised):
            reason = next(w.reason for w in (key, value) if isinstance(w, Unraised))
            lost.append(Unraised(twin.key_cache, f"in the prefill {reason}"))
            continue
        attention = dataclasses.replace(
            twin,
            query=region.query if region else key.new,
            new_key=key.new,
            new_value=value.new,
            output=region.output if region else value.after,
        )
        equations = region.equations if region else (*key.update, *value.update)
        found.append(RaisedAttention(attention, equations))
    return tuple(found), tuple(lost)


def _forms(
    regions: Sequence[AttentionRegion], phase: TracedPhase, split: SplitEquations
) -> Iterator[Hashable]:
    """Yields what equal regions share; a region that repeats an earlier one layer for layer is not looked through again."""
    order, type_of = phase.flow.order, phase.forms.type_of
    repeated: RepeatedGroups[tuple[Hashable, Hashable]] = RepeatedGroups(
        split, lambda values: tuple(map(type_of, values))
    )
    for region in regions:
        group = [order[id(e)] for e in region.equations]
        results = (region.output, region.key.after, region.value.after)
        known = repeated.find(group, results)
        if known is not None and _reads(region, known[0].inputs, phase) == known[1][1]:
            yield known[1][0]
            continue
        equations = (*split.index_flow.needed_for(borders(region.equations)), *region.equations)
        inputs = tuple(borders(equations))
        given = _given(region)
        read = [v for v in inputs if v not in given]
        reads = _reads(region, inputs, phase)
        form = phase.forms.signature(equations, [*given, *read], results), reads
        repeated.remember(group, Parts(equations, inputs, results), (form, reads))
        yield form


def _given(region: AttentionRegion) -> list[Var]:
    return [region.query, region.key.new, region.value.new, region.key.before, region.value.before]


def _reads(region: AttentionRegion, inputs: Sequence[Var], phase: TracedPhase) -> Hashable:
    """Returns what each value is that a region and its index arithmetic read: one of those it attends to, or an index input."""
    place = {v: n for n, v in enumerate(_given(region))}
    described, type_of = phase.input_of, phase.forms.type_of
    return tuple([place[v] if v in place else (type_of(v), _identity(described[v])) for v in inputs])


def _identity(index_input: TracedInput) -> Any:
    """Returns what tells an index input from others: its value, or its name; cursors of all layers count alike."""
    if index_input.role == "const":
        return bytes_of(index_input.value)
    return index_input.role if index_input.role == "cursor" else index_input.name


def _describe(region: AttentionRegion, layer: int, layout: RegionLayout, rule: LogitRule) -> Attention:
    return Attention(
        layer=layer,
        key_cache=region.key.name,
        value_cache=region.value.name,
        num_heads=layout.num_heads,
        num_kv_heads=layout.num_kv_heads,
        head_size=layout.head_size,
        scale=rule.scale,
        soft_cap=rule.soft_cap,
        window=rule.window,
        slopes=rule.slopes,
        cache_dtype=dtype_of(region.key.before).name,
        query=region.query,
        new_key=region.key.new,
        new_value=region.value.new,
        output=region.output,
        query_layout=layout.query,
        new_layout=layout.new,
        cache_layout=layout.cache,
        output_layout=layout.output,
    )
