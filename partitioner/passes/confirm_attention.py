"""Confirms that a region is attention: infers its axes, reads off its rule, and holds both against what it computes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from partitioner.errors import ModelError
from partitioner.frontend.trace import TracedPhase
from partitioner.jaxpr import Eqn, borders, shape_of
from partitioner.passes.few_heads import few_heads
from partitioner.passes.find_attention import AttentionRegion, find_attention
from partitioner.passes.infer_layout import LayoutError, RegionLayout, infer_layout
from partitioner.passes.logit_rule import LogitRule, ValidationError
from partitioner.passes.narrow_region import narrow_region, widened
from partitioner.passes.read_logits import literal_factors, read_logits
from partitioner.passes.run_region import RegionRunner
from partitioner.passes.run_weights import WeightsRunner, few_rows, weights_part
from partitioner.passes.shrink_region import SmallRegion, as_small_region, shrink_region
from partitioner.passes.split_equations import SplitEquations, split_equations
from partitioner.passes.validate_attention import slopes_by_head, validate_attention
from partitioner.passes.validate_logits import validate_logits
from partitioner.passes.validate_positions import validate_positions

_PROBE_BATCHES = (3, 5, 9, 10)
_PROBE_LENGTHS = (7, 11, 13, 17, 19)


class Confirmer:
    """Runs regions at small sizes: as they are, shrunk, or found again in a small trace.

    Args:
        phase: The decode trace at the workload's sizes.
        split: Its equations, sorted.
        trace_probe: Traces the same step at a given batch and length; called only where regions cannot be shrunk.
    """

    def __init__(
        self, phase: TracedPhase, split: SplitEquations, trace_probe: Callable[[int, int], TracedPhase]
    ) -> None:
        self._phase, self._split, self._trace_probe = phase, split, trace_probe
        self._probes: dict[tuple[int, int], tuple[TracedPhase, SplitEquations]] = {}

    def confirm(self, region: AttentionRegion) -> tuple[RegionLayout, LogitRule] | str:
        """Returns layout and rule of a region that is attention, or the reason why it is not."""
        index = self._split.index_flow.needed_for(borders(region.equations))
        try:
            _require_sizes(shape_of(region.key.before), self._phase)
            validate_positions(region, self._phase, index)
            small = as_small_region(region, self._phase, index)

            def full() -> WeightsRunner:
                return self._full_weights(region, index)

            return _run_narrow(small, full) if small else self._run_small_twin(region, index, full)
        except (LayoutError, ValidationError) as error:
            return str(error)

    def _full_weights(self, region: AttentionRegion, index: Sequence[Eqn]) -> WeightsRunner:
        part = few_rows(weights_part(region, self._phase, index))
        if part is None:
            twin = self._full_twin(region)
            part = weights_part(twin.region, twin.phase, twin.index)
            part = few_rows(part) or part
        return WeightsRunner(few_heads(part))

    def _run_small_twin(
        self, region: AttentionRegion, index: Sequence[Eqn], full: Callable[[], WeightsRunner]
    ) -> tuple[RegionLayout, LogitRule]:
        shape, batch = shape_of(region.key.before), _probe_batch(region)
        length = next(n for n in _PROBE_LENGTHS if n not in shape and n != batch)
        small = shrink_region(region, self._phase, index, batch, length)
        if (
            small is None and shape.count(self._phase.max_len) == 1
        ):  # at another batch, sizes may be told apart
            twin = self._full_twin(region)
            small = shrink_region(twin.region, twin.phase, twin.index, batch, length)
        if small is not None:
            with contextlib.suppress(LayoutError, ValidationError, TypeError, ValueError):
                return _run_narrow(small, full)
        return _run_narrow(self._probe(region, batch, length), full)

    def _full_twin(self, region: AttentionRegion) -> SmallRegion:
        """Returns the region in a trace at full length, with another number of rows than small twins have."""
        shape = shape_of(region.key.before)
        rows = next(b for b in _PROBE_BATCHES if b not in shape and b != _probe_batch(region))
        return self._probe(region, rows, self._phase.max_len)

    def _probe(self, region: AttentionRegion, batch: int, length: int) -> SmallRegion:
        if (batch, length) not in self._probes:
            try:
                phase = self._trace_probe(batch, length)
            except ModelError as error:
                raise ValidationError(
                    f"the step cannot be run at a small batch and length: {error}"
                ) from error
            self._probes[batch, length] = phase, split_equations(phase)
        phase, split = self._probes[batch, length]
        twin = next((r for r in find_attention(phase, split)[0] if r.key.name == region.key.name), None)
        if twin is None:
            raise ValidationError("the step traces differently at a small batch and length")
        return SmallRegion(twin, phase, split.index)


def _probe_batch(region: AttentionRegion) -> int:
    """Returns a number of rows that no axis of the caches has at the workload's sizes."""
    return next(b for b in _PROBE_BATCHES if b not in shape_of(region.key.before))


def _run_narrow(small: SmallRegion, full: Callable[[], WeightsRunner]) -> tuple[RegionLayout, LogitRule]:
    """Returns layout and rule after confirming both with few KV heads where that can be done, else with all."""
    narrow = narrow_region(small)
    if narrow is None:
        return _run(small, full)
    try:
        return _run(narrow, full)
    except (
        LayoutError,
        ValidationError,
        TypeError,
        ValueError,
    ):  # with all heads, there may be another reason
        return _run(small, full)


def _run(small: SmallRegion, full: Callable[[], WeightsRunner]) -> tuple[RegionLayout, LogitRule]:
    """Returns layout and rule of a region after confirming both, at small sizes and at full length."""
    runner = RegionRunner(small.region, small.phase, small.index)
    layout = infer_layout(runner)
    part = WeightsRunner(weights_part(small.region, small.phase, small.index))
    long = full()
    rule = read_logits(part, long, literal_factors(small.region.equations))
    validate_logits(long, rule)
    if rule.slopes is not None:
        rule = dataclasses.replace(rule, slopes=_by_head(rule.slopes, slopes_by_head(runner, layout)))
    validate_attention(runner, layout, rule)
    if small.kv_heads is None:
        return layout, rule
    wide = widened(layout, small.kv_heads)
    if rule.slopes is not None:  # of heads that are all alike
        rule = dataclasses.replace(rule, slopes=rule.slopes[:1] * wide.num_heads)
    return wide, rule


def _by_head(measured: Sequence[float], roughly: np.ndarray) -> tuple[float, ...]:
    """Returns for each head the slope that was measured nearest to what is roughly known of it."""
    found = np.array(measured)
    return tuple(float(found[np.abs(found - slope).argmin()]) for slope in roughly)


def _require_sizes(cache: tuple[int, ...], phase: TracedPhase) -> None:
    """Checks that a cache is as large as the workload, which its small twin cannot tell."""
    if phase.batch_size not in cache or phase.max_len not in cache:
        raise LayoutError(
            f"the cache has shape {cache}; one axis of {phase.batch_size} rows and one of {phase.max_len} slots are expected"
        )
