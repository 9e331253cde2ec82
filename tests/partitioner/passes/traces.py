"""Traces and raises of the spellings, each made once."""

import functools
from collections.abc import Iterable

from partitioner.frontend import TracedPhase, trace_phase
from partitioner.ir.graph import Unraised
from partitioner.ir.op import Layout
from partitioner.jaxpr import Eqn, shape_of
from partitioner.passes.find_attention import AttentionRegion, find_attention
from partitioner.passes.raise_attention import (
    RaisedAttention,
    raise_decode_attention,
    raise_prefill_attention,
)
from partitioner.passes.run_region import RegionRunner
from partitioner.passes.split_equations import SplitEquations, split_equations
from tests.partitioner.passes.spellings import Spelling

BATCH, LENGTH, PROMPT = 2, 64, 12

Traces = tuple[TracedPhase, SplitEquations]
Raises = tuple[tuple[RaisedAttention, ...], tuple[Unraised, ...]]


def decode_of(spelling: Spelling, batch: int = BATCH, length: int = LENGTH) -> Traces:
    return _decode_of(spelling, batch, length)


@functools.cache
def _decode_of(spelling: Spelling, batch: int, length: int) -> Traces:
    phase = trace_phase(spelling.decoder(), "decode", batch_size=batch, chunk=1, max_len=length)
    return phase, split_equations(phase)


@functools.cache
def prefill_of(spelling: Spelling) -> Traces:
    phase = trace_phase(spelling.decoder(), "prefill", batch_size=BATCH, chunk=PROMPT, max_len=PROMPT)
    return phase, split_equations(phase)


@functools.cache
def raised_of(spelling: Spelling) -> Raises:
    return raise_decode_attention(*decode_of(spelling), lambda b, n: decode_of(spelling, b, n)[0])


@functools.cache
def raised_prefill_of(spelling: Spelling) -> Raises:
    return raise_prefill_attention(*prefill_of(spelling), raised_of(spelling)[0])


def region_of(spelling: Spelling, batch: int = BATCH, length: int = LENGTH) -> AttentionRegion:
    regions, unraised = find_attention(*decode_of(spelling, batch, length))
    assert not unraised
    return regions[0]


@functools.cache
def runner_of(spelling: Spelling, batch: int = 3, length: int = 7) -> RegionRunner:
    phase, split = decode_of(spelling, batch, length)
    return RegionRunner(region_of(spelling, batch, length), phase, split.index)


def show_layout(layout: Layout) -> str:
    """Returns a layout as ``batch 1 kv_head*group head_size``."""
    return " ".join("*".join(axis) or "1" for axis in layout)


def show_equations(equations: Iterable[Eqn]) -> list[str]:
    """Returns primitives and the shapes of their results."""
    return [f"{e.primitive.name} -> {', '.join(str(shape_of(v)) for v in e.outvars)}" for e in equations]


def no_trace(batch: int, length: int) -> TracedPhase:
    raise AssertionError("the step was traced again")
