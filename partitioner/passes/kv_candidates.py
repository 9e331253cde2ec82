"""Finds for each raised attention the input of its layer that a cache may keep in place of K and V, by equations alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention
from partitioner.jaxpr import Var, dtype_of, itemsize, num_bytes
from partitioner.passes.find_cache_writes import CacheWrite, find_cache_writes
from partitioner.passes.find_kv_source import KvPath, find_kv_sources, foreign_input, kv_path, walk_to_sources
from partitioner.passes.repeated_paths import RepeatedPaths
from partitioner.passes.split_equations import SplitEquations

_DECODE_ROLES = ("param", "const", "position", "cursor")
_PREFILL_ROLES = (*_DECODE_ROLES, "mask", "cache")
_ROLES = {"decode": _DECODE_ROLES, "prefill": _PREFILL_ROLES}


@dataclass(frozen=True)
class KvCandidate:
    """Names what a cache might keep in place of the K and V of one attention; not proved yet.

    Attributes:
        op: The attention op.
        attention: The decode's.
        decode: From the layer's input to the new K and V of a decode step.
        prefill: From the layer's input to the caches of a prefill, None for a model without.
        order: Which of the values found it is, in decode and prefill, the nearest being 0.
        token_bytes: Of the input of one token of one row.
        form: What layers share if they make K and V alike, a number once all are found.
    """

    op: str
    attention: Attention
    decode: KvPath
    prefill: KvPath | None
    order: tuple[int, int]
    token_bytes: float
    form: Any


@dataclass(frozen=True, eq=False)
class Found:
    """Holds a candidate and by which of the values on its way it was chosen (see ``_handed``)."""

    candidate: KvCandidate
    handed: tuple[tuple[bool, ...], ...]


class KvFinder:
    """Looks for the inputs of layers in one phase."""

    def __init__(self, graph: OpGraph, split: SplitEquations) -> None:
        self.graph, self.phase, self._split = graph, graph.phase, split
        self._repeated: RepeatedPaths[Found] = RepeatedPaths(split)

    @cached_property
    def _writes(self) -> Mapping[str, CacheWrite]:
        writes = find_cache_writes(self.phase, self._split)
        return {w.name: w for w in writes if isinstance(w, CacheWrite)}

    def sources(self, attention: Attention) -> tuple[Var, ...]:
        """Returns the values that all of K and V goes through, the nearest first."""
        writes = self._pair(attention)
        return find_kv_sources(self._split, (writes[0].new, writes[1].new)) if writes else ()

    def repeated(self, attention: Attention) -> tuple[KvPath, tuple[Var, ...], Found] | None:
        """Returns the path of an attention and the values on its way, and what was found for one whose path it repeats."""
        writes = self._pair(attention)
        return self._repeated.find(kv_targets(self.phase.name, writes)) if writes else None

    def remember(self, found: Found) -> None:
        """Notes what was found for an attention, for others that repeat its path."""
        path = found.candidate.decode if self.phase.name == "decode" else found.candidate.prefill
        writes = self._pair(found.candidate.attention)
        assert path is not None, "there is a finder for each phase of a candidate"
        assert writes is not None, "an attention that has a candidate writes both caches"
        self._repeated.remember(
            path, *walk_to_sources(self._split, (writes[0].new, writes[1].new)), about=found
        )

    def path(self, attention: Attention, source: Var) -> KvPath:
        """Returns the way from a source to the new K and V, in a prefill to the caches."""
        writes = self._pair(attention)
        assert writes is not None, "sources were found for it"
        return kv_path(self.phase.flow, source, kv_targets(self.phase.name, writes))

    def maker(self, source: Var) -> str | None:
        """Returns the op that hands a value to others."""
        number = self.graph.producer.get(source)
        return None if number is None else self.graph.ops[number].name

    def token_bytes(self, source: Var) -> float:
        """Returns the bytes of a value per token and row."""
        return num_bytes(source) / (self.phase.batch_size * self.phase.chunk)

    def _pair(self, attention: Attention) -> tuple[CacheWrite, CacheWrite] | None:
        first, second = (self._writes.get(n) for n in (attention.key_cache, attention.value_cache))
        return (first, second) if first and second else None


def kv_candidates(
    attentions: Mapping[str, Attention], finders: Sequence[KvFinder]
) -> dict[str, KvCandidate | str]:
    """Returns for each attention op what might be kept in place of its K and V, or why nothing can.

    Args:
        attentions: Those of the decode.
        finders: Of the prefill, unless there is none, and the decode.
    """
    found: dict[str, KvCandidate | str] = {}
    numbers: dict[Any, int] = {}
    for name, attention in attentions.items():
        candidate = _repeated(name, attention, finders)
        if candidate is None:
            candidate = kv_candidate(name, attention, finders)
            if isinstance(candidate, str):
                found[name] = candidate
                continue
            candidate = replace(candidate, form=numbers.setdefault(candidate.form, len(numbers)))
            values = [finder.sources(attention) for finder in finders]
            about = Found(candidate, _handed(candidate.decode, values, finders))
            for finder in finders:
                finder.remember(about)
        found[name] = candidate
    return found


def _repeated(name: str, attention: Attention, finders: Sequence[KvFinder]) -> KvCandidate | None:
    """Returns the candidate of an attention whose paths repeat those of one that was looked at; None where none is known."""
    repeated = [finder.repeated(attention) for finder in finders]
    parts = [part for part in repeated if part is not None]
    if len(parts) < len(repeated) or any(about is not parts[0][2] for _, _, about in parts):
        return None
    (*before, (path, _, about)) = parts
    candidate = about.candidate
    values = [values for _, values, _ in parts]
    same = about.handed == _handed(path, values, finders)
    if not same or kv_token_bytes(attention) != kv_token_bytes(candidate.attention):
        return None
    if any(
        foreign_input(finder.phase, part[0], _ROLES[finder.phase.name])
        for finder, part in zip(finders, parts, strict=True)
    ):
        return None
    prefill = before[0][0] if before else None
    return replace(candidate, op=name, attention=attention, decode=path, prefill=prefill)


def _handed(
    path: KvPath, values: Sequence[Sequence[Var]], finders: Sequence[KvFinder]
) -> tuple[tuple[bool, ...], ...]:
    """Returns which of the values on the way of a decode ops hand on, and which of a prefill's the maker of its source."""
    *before, decode = zip(finders, values, strict=True)
    maker = decode[0].maker(path.source)
    handed = tuple([decode[0].maker(v) is not None for v in decode[1]])
    return (handed, *(tuple([finder.maker(v) == maker for v in own]) for finder, own in before))


def kv_candidate(name: str, attention: Attention, finders: Sequence[KvFinder]) -> KvCandidate | str:
    """Returns what might be kept in place of the K and V of an attention, or why nothing can.

    Args:
        name: The attention op.
        attention: The decode's.
        finders: Of the prefill, unless there is none, and the decode.
    """
    decode, prefill = finders[-1], finders[0] if len(finders) > 1 else None
    found = decode.sources(attention)
    if not found:
        return "K and V are not made of one value alone"
    handed = [(n, v) for n, v in enumerate(found) if decode.maker(v)]
    if not handed:
        return "the value that K and V are made of stays within one op"
    order, source = min(handed, key=lambda pair: decode.token_bytes(pair[1]))
    size, whole = decode.token_bytes(source), kv_token_bytes(attention)
    if size >= whole:
        return f"it takes {size:.0f} bytes a token, and K and V take {whole:.0f}"
    path = decode.path(attention, source)
    foreign = foreign_input(decode.phase, path, _DECODE_ROLES)
    if foreign:
        return f"K and V depend on {foreign} besides"
    if (
        dtype_of(source).name not in ("float64", "float32", "float16", "bfloat16")
        or (size / dtype_of(source).itemsize) % 2
    ):
        return f"it is {source.aval}, which a cache does not keep"
    form = [decode.phase.forms.signature(path.equations, [source, *path.inputs], path.targets)]
    form += [_roles(decode.phase, path)]
    if prefill is None:
        return KvCandidate(name, attention, path, None, (order, 0), size, tuple(form))
    twins = [
        (n, v)
        for n, v in enumerate(prefill.sources(attention))
        if prefill.maker(v) == decode.maker(source) and prefill.token_bytes(v) == size
    ]
    if not twins or dtype_of(twins[0][1]) != dtype_of(source):
        return "the prefill hands on no such value"
    second, twin = twins[0]
    path_before = prefill.path(attention, twin)
    foreign = foreign_input(prefill.phase, path_before, _PREFILL_ROLES)
    if foreign:
        return f"in the prefill K and V depend on {foreign} besides"
    form += [
        prefill.phase.forms.signature(
            path_before.equations, [twin, *path_before.inputs], path_before.targets
        ),
        _roles(prefill.phase, path_before),
    ]
    return KvCandidate(name, attention, path, path_before, (order, second), size, tuple(form))


def kv_token_bytes(attention: Attention) -> float:
    """Returns the bytes of K and V of one token of one row."""
    return 2.0 * attention.num_kv_heads * attention.head_size * itemsize(attention.cache_dtype)


def kv_targets(phase: str, writes: tuple[CacheWrite, CacheWrite]) -> tuple[Var, Var]:
    """Returns what a phase, by name, makes of K and V: the new ones, or the caches of a prefill."""
    first, second = writes
    return (first.new, second.new) if phase == "decode" else (first.after, second.after)


def _roles(phase: TracedPhase, path: KvPath) -> tuple[str, ...]:
    """Returns the roles of a path's inputs; a constant is told by its name."""
    described = [phase.input_of[v] for v in path.inputs]
    return tuple(i.name if i.role == "const" else i.role for i in described)
