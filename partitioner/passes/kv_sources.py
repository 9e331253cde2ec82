"""Finds for each raised attention the input of its layer that a cache may keep in place of K and V, and proves it.

What is found is told from what is described, and that from what is proved: the search looks at equations alone, a description
has the equations that make K and V again, the proof runs them. Layers of one form are described and proved once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from partitioner.errors import ModelError
from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import OpGraph, Unraised
from partitioner.ir.op import Attention
from partitioner.jaxpr import Var, shape_of
from partitioner.passes.find_cache_writes import CacheWrite, find_cache_writes
from partitioner.passes.find_kv_source import KvPath, find_kv_sources, kv_path
from partitioner.passes.kv_candidates import KvCandidate, KvFinder, kv_candidates, kv_targets
from partitioner.passes.logit_rule import ValidationError
from partitioner.passes.recompute_kv import Recompute, recompute_kv
from partitioner.passes.shrink_path import narrow_path, shrink_path
from partitioner.passes.split_equations import SplitEquations, split_equations
from partitioner.passes.validate_kv_source import InputAxes, SmallPath, input_axes, validate_kv_source

_PROBE_ROWS = (3, 5, 7, 11)
_PROBE_TOKENS = (6, 9, 13, 17)


@dataclass(frozen=True)
class KvSource:
    """Tells how K and V of one attention are made again of the input of its layer.

    Attributes:
        op: The attention op.
        value: The input in a decode step.
        prefill_value: The input in a prefill, None for a model without.
        axes: Its axes.
        given: Parameters and constants that are needed.
        recompute: The equations, those of another layer of the same form perhaps.
        form: What layers share whose equations are alike.
    """

    op: str
    value: Var
    prefill_value: Var | None
    axes: InputAxes
    given: tuple[Var, ...]
    recompute: Recompute
    form: Any


class KvSources:
    """Finds and proves, each when asked.

    Args:
        graphs: Prefill, unless there is none, and decode.
        splits: The equations of each, sorted.
        trace_probe: Traces a phase by name with few rows and tokens; called only where sizes cannot be told apart.
    """

    def __init__(
        self,
        graphs: Sequence[OpGraph],
        splits: Sequence[SplitEquations],
        trace_probe: Callable[[str, int, int], TracedPhase],
    ) -> None:
        self._graphs, self._splits = tuple(graphs), tuple(splits)
        self._probe = trace_probe
        self._described: dict[Any, tuple[InputAxes, Recompute] | str] = {}
        self._proved: dict[Any, tuple[InputAxes, Recompute] | str] = {}
        self._sources: dict[str, tuple[tuple[InputAxes, Recompute], KvSource]] = {}
        self._traced: dict[tuple[str, int, int], tuple[TracedPhase, SplitEquations]] = {}

    @cached_property
    def candidates(self) -> Mapping[str, KvCandidate]:
        """Returns what might be kept, by attention op."""
        return {name: found for name, found in self._found.items() if not isinstance(found, str)}

    @cached_property
    def missing(self) -> Mapping[str, str]:
        """Returns why nothing can be kept in place of K and V, by attention op."""
        return {name: found for name, found in self._found.items() if isinstance(found, str)}

    def described(self, op: str) -> KvSource | str:
        """Returns what could be kept in place of the K and V of an attention if that proves right, or why nothing can."""
        found = self._found[op]
        if isinstance(found, str):
            return found
        if found.form not in self._described:
            self._described[found.form] = self._describe(found)
        return self._source(op, found, self._proved.get(found.form, self._described[found.form]))

    def proved(self, op: str) -> KvSource | str:
        """Returns what can be kept in place of the K and V of an attention, or why nothing can."""
        found = self._found[op]
        if isinstance(found, str):
            return found
        if found.form not in self._proved:
            self._proved[found.form] = self._prove(found)
        return self._source(op, found, self._proved[found.form])

    def _source(
        self, op: str, found: KvCandidate, result: tuple[InputAxes, Recompute] | str
    ) -> KvSource | str:
        if isinstance(result, str):
            return result
        known = self._sources.get(op)
        if known is None or known[0] is not result:
            known = self._sources[op] = result, self._made_source(op, found, result)
        return known[1]

    def _made_source(self, op: str, found: KvCandidate, result: tuple[InputAxes, Recompute]) -> KvSource:
        phase = self._graphs[-1].phase
        given = tuple(v for v in found.decode.inputs if phase.input_of[v].role in ("param", "const"))
        prefill = found.prefill.source if found.prefill else None
        return KvSource(op, found.decode.source, prefill, result[0], given, result[1], found.form)

    @cached_property
    def _found(self) -> Mapping[str, KvCandidate | str]:
        finders = [KvFinder(*pair) for pair in zip(self._graphs, self._splits, strict=True)]
        attentions = {op.name: op.attention for op in self._graphs[-1].ops if op.attention}
        return kv_candidates(attentions, finders)

    def _describe(self, found: KvCandidate) -> tuple[InputAxes, Recompute] | str:
        narrow = self._narrow(found)
        try:
            with contextlib.suppress(ValidationError):
                if narrow:
                    return self._recompute(found, input_axes(*narrow[:2]))
            return self._recompute(found, input_axes(*self._small(found)))
        except ValidationError as error:
            return str(error)

    def _prove(self, found: KvCandidate) -> tuple[InputAxes, Recompute] | str:
        known = self._described.get(found.form)
        narrow = self._narrow(found)
        try:
            axes = self._validated(narrow) if narrow else None
            if axes is None:
                axes = validate_kv_source(*self._small(found), found.attention)
            if known is not None and not isinstance(known, str) and known[0] == axes:
                return known
            return self._recompute(found, axes)
        except ValidationError as error:
            return str(error)

    def _recompute(self, found: KvCandidate, axes: InputAxes) -> tuple[InputAxes, Recompute]:
        phase = self._graphs[-1].phase
        return axes, recompute_kv(phase, found.decode, found.attention, axes.batch[0], phase.max_len)

    def _validated(self, small: tuple[SmallPath, SmallPath | None, Attention]) -> InputAxes | None:
        """Returns the axes if rewritten paths confirm it; if not, they may have been rewritten wrongly."""
        with contextlib.suppress(ValidationError, TypeError, ValueError):
            return validate_kv_source(*small)
        return None

    def _narrow(self, found: KvCandidate) -> tuple[SmallPath, SmallPath | None, Attention] | None:
        """Returns the paths with few KV heads and few tokens, all rows among them, where sizes can be told apart."""
        phases = [graph.phase for graph in self._graphs]
        taken = {n for p in phases for n in (p.batch_size, p.chunk)}
        decode = narrow_path(found.decode, phases[-1], found.attention, taken)
        if decode is None or found.prefill is None:
            return (SmallPath(*decode[:2]), None, decode[2]) if decode else None
        prefill = narrow_path(found.prefill, phases[0], found.attention, taken)
        tokens = next(n for n in _PROBE_TOKENS if n not in _dims(found.prefill))
        if prefill is None or phases[0].chunk in (1, phases[0].batch_size):
            return None
        few = shrink_path(*prefill[:2], {phases[0].chunk: tokens})
        return (SmallPath(*decode[:2]), SmallPath(*few), decode[2]) if few else None

    def _small(self, found: KvCandidate) -> tuple[SmallPath, SmallPath | None]:
        """Returns the paths with few rows and tokens: rewritten, or found again in small traces."""
        phases = [graph.phase for graph in self._graphs]
        dims = {n for path in (found.decode, found.prefill) if path for n in _dims(path)}
        tokens = next(n for n in _PROBE_TOKENS if n not in dims)
        # axes of single rows are left out of the layouts of attentions, so that one row has to stay one
        rows = 1 if phases[-1].batch_size == 1 else next(n for n in _PROBE_ROWS if n not in dims)
        decode = shrink_path(found.decode, phases[-1], _small_sizes({phases[-1].batch_size: rows}))
        if found.prefill is None:
            return (SmallPath(*decode) if decode else self._probed("decode", found, rows, tokens)), None
        sizes = {phases[0].batch_size: rows, phases[0].chunk: tokens}
        told = len(sizes) == 2 and phases[0].chunk > 1
        prefill = shrink_path(found.prefill, phases[0], _small_sizes(sizes)) if told else None
        if decode is None or prefill is None:
            return (
                self._probed("decode", found, rows, tokens),
                self._probed("prefill", found, rows, tokens),
            )
        return SmallPath(*decode), SmallPath(*prefill)

    def _probed(self, name: str, found: KvCandidate, rows: int, tokens: int) -> SmallPath:
        key = name, rows, tokens
        if key not in self._traced:
            try:
                phase = self._probe(*key)
            except ModelError as error:
                raise ValidationError(f"the step cannot be run on few rows and tokens: {error}") from error
            self._traced[key] = phase, split_equations(phase)
        phase, split = self._traced[key]
        writes = _writes(phase, split, found.attention)
        number = found.order[name == "prefill"]
        if isinstance(writes, str):
            raise ValidationError(writes)
        sources = find_kv_sources(split, (writes[0].new, writes[1].new))
        if number >= len(sources):
            raise ValidationError("the step traces differently on few rows and tokens")
        targets = kv_targets(name, writes)
        return SmallPath(kv_path(phase.flow, sources[number], targets), phase)


def _small_sizes(sizes: Mapping[int, int]) -> dict[int, int]:
    """Returns what is to be replaced: single rows stay as they are."""
    return {old: new for old, new in sizes.items() if old != 1}


def _dims(path: KvPath) -> set[int]:
    made = (v for e in path.equations for v in e.outvars)
    return {n for v in (path.source, *path.inputs, *made) for n in shape_of(v)}


def _writes(
    phase: TracedPhase, split: SplitEquations, attention: Attention
) -> tuple[CacheWrite, CacheWrite] | str:
    found = {w.name: w for w in find_cache_writes(phase, split)}
    first, second = found[attention.key_cache], found[attention.value_cache]
    if isinstance(first, Unraised) or isinstance(second, Unraised):
        return "the caches are written differently on few rows and tokens"
    return first, second
