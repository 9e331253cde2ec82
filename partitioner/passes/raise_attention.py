"""Raises attention: finds regions, infers their axes, and confirms them on a small probe trace of the same step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import Unraised
from partitioner.ir.op import Attention
from partitioner.jaxpr import Eqn, borders, needed_for, shape_of, signature
from partitioner.passes.find_attention import AttentionRegion, find_attention
from partitioner.passes.infer_layout import LayoutError, RegionLayout, infer_layout
from partitioner.passes.run_region import RegionRunner
from partitioner.passes.shrink_region import SmallRegion, as_small_region, shrink_region
from partitioner.passes.split_equations import SplitEquations, split_equations
from partitioner.passes.validate_attention import ValidationError, validate_attention

_PROBE_BATCHES = (3, 5, 9, 10)
_PROBE_LENGTHS = (7, 11, 13, 17, 19)


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
    confirmer = _Confirmer(phase, split, trace_probe)
    confirmed: dict[Any, tuple[RegionLayout, float] | str] = {}
    raised: list[RaisedAttention] = []
    left = list(unraised)
    for region in regions:
        form = _form(region, split)
        if form not in confirmed:
            confirmed[form] = confirmer.confirm(region)
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


class _Confirmer:
    """Runs regions at small sizes: as they are, shrunk, or found again in a small trace."""

    def __init__(
        self, phase: TracedPhase, split: SplitEquations, trace_probe: Callable[[int, int], TracedPhase]
    ) -> None:
        self._phase, self._split, self._trace_probe = phase, split, trace_probe
        self._probes: dict[tuple[int, int], tuple[TracedPhase, SplitEquations]] = {}

    def confirm(self, region: AttentionRegion) -> tuple[RegionLayout, float] | str:
        """Returns layout and scale of a region that is attention, or the reason why it is not."""
        shape = shape_of(region.key.before)
        batch = next(b for b in _PROBE_BATCHES if b not in shape)
        length = next(n for n in _PROBE_LENGTHS if n not in shape and n != batch)
        index = self._split.index
        small = as_small_region(region, self._phase, index) or shrink_region(
            region, self._phase, index, batch, length
        )
        if small is not None:
            result = _run(small, broken=(LayoutError, ValidationError, TypeError, ValueError))
            if not isinstance(result, str):
                return result
        probe = self._probe(region, batch, length)
        return probe if isinstance(probe, str) else _run(probe, broken=(LayoutError, ValidationError))

    def _probe(self, region: AttentionRegion, batch: int, length: int) -> SmallRegion | str:
        if (batch, length) not in self._probes:
            phase = self._trace_probe(batch, length)
            self._probes[batch, length] = phase, split_equations(phase)
        phase, split = self._probes[batch, length]
        twin = next((r for r in find_attention(phase, split)[0] if r.key.name == region.key.name), None)
        if twin is None:
            return "the step traces differently at a small batch and length"
        return SmallRegion(twin, phase, split.index)


def _run(small: SmallRegion, broken: tuple[type[Exception], ...]) -> tuple[RegionLayout, float] | str:
    try:
        runner = RegionRunner(small.region, small.phase, small.index)
        layout = infer_layout(runner)
        return layout, validate_attention(runner, layout)
    except broken as error:
        return str(error)


def _form(region: AttentionRegion, split: SplitEquations) -> Any:
    """Returns what equal regions share: their equations and the index arithmetic they need."""
    needed = needed_for(split.index, borders(region.equations))
    equations = [*needed, *region.equations]
    given = [region.query, region.key.new, region.value.new, region.key.before, region.value.before]
    inputs = [*given, *(v for v in borders(equations) if v not in given)]
    return signature(equations, inputs, [region.output, region.key.after, region.value.after])


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
