"""From a step function to verified op graphs of all phases."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from cost_models import HardwareSpec
from partitioner.frontend.step_function import StepFunction
from partitioner.frontend.trace import TracedPhase, trace_phase
from partitioner.frontend.unstack import Axes
from partitioner.ir.graph import OpGraph, Unraised
from partitioner.ir.verify import verify_graph
from partitioner.ir.working_set import peak_working_set_bytes
from partitioner.jaxpr import aval_of, bytes_of
from partitioner.passes.group_ops import group_ops
from partitioner.passes.kv_sources import KvSources
from partitioner.passes.raise_attention import (
    RaisedAttention,
    raise_decode_attention,
    raise_prefill_attention,
)
from partitioner.passes.set_sparsity import set_sparsity
from partitioner.passes.split_equations import SplitEquations, split_equations
from partitioner.passes.split_over_gpus import split_over_gpus
from partitioner.workload import Workload

_PREFILL_SHARE = 0.05
"""Largest share of GPU memory that a prefill slice's activations may take; more rows at once gain nothing, since a prefill of
one row of a few hundred tokens is bound by compute already."""

_SLACK = 2.0
"""A first guess of the rows stands if activations take at most this many times their share; else the prefill is retraced."""

_ADDRESS = re.compile(rb" at 0x[0-9a-f]+")
"""Where a function among an equation's parameters lies in memory, which the next run does not repeat."""

Show = Callable[[str, Callable[[], str]], None]


class Tracer:
    """Traces a function, each phase and size once; stacked inputs are taken apart as the first trace, of a decode, has them.

    Args:
        function: The model in its one form.
    """

    def __init__(self, function: StepFunction) -> None:
        self._function = function
        self._known: dict[tuple[str, int, int, int], TracedPhase] = {}
        self._stacks: tuple[Axes, ...] | None = None

    def __call__(self, phase: str, batch_size: int, chunk: int, max_len: int) -> TracedPhase:
        """Returns the trace of a phase (see ``trace_phase``)."""
        key = (phase, batch_size, chunk, max_len)
        if key not in self._known:
            self._known[key] = traced = trace_phase(
                self._function,
                phase,
                batch_size=batch_size,
                chunk=chunk,
                max_len=max_len,
                stacks=self._stacks,
            )
            self._stacks = traced.stacks
        return self._known[key]


@dataclass(frozen=True, eq=False)
class Traced:
    """Holds a model's op graphs.

    Attributes:
        function: The model in its one form.
        graphs: Prefill (unless the model takes one token a step) and decode.
        fingerprint: Hash of the traced jaxprs.
        tracer: Knows all traces made for them.
        splits: The equations of each graph, sorted.
    """

    function: StepFunction
    graphs: tuple[OpGraph, ...]
    fingerprint: str
    tracer: Tracer
    splits: tuple[SplitEquations, ...]

    @cached_property
    def kv_sources(self) -> KvSources:
        """Finds what caches may keep in place of K and V."""

        def trace_probe(name: str, rows: int, tokens: int) -> TracedPhase:
            return self.tracer(name, rows, tokens if name == "prefill" else 1, tokens)

        return KvSources(self.graphs, self.splits, trace_probe)


def trace_model(
    function: StepFunction,
    hw: HardwareSpec,
    workload: Workload,
    *,
    verify: bool = True,
    show: Show = lambda name, text: None,
    micro_batches: int = 1,
    tracer: Tracer | None = None,
) -> Traced:
    """Traces, raises attention, and groups ops, for every phase.

    The prefill is traced with a cache of the prompt's length and with as many rows as its activations leave room for; the
    decode with the rows of one micro-batch and the longest context. Traces that ``tracer`` knows are taken from it.

    Raises:
        ModelError: If tracing fails.
        PassError: If a pass made invalid IR.
    """
    tracer = tracer or Tracer(function)
    decode = tracer("decode", workload.batch_size // micro_batches, 1, workload.max_len)
    show("trace", lambda: str(decode))
    split = split_equations(decode)
    raised, unraised = raise_decode_attention(decode, split, lambda b, n: tracer("decode", b, 1, n))
    graphs: list[OpGraph] = []
    splits = [split]
    if function.max_chunk is None:
        prefill, lost, prefill_split = _prefill_graph(tracer, hw, workload, raised, micro_batches)
        graphs.append(prefill)
        splits.insert(0, prefill_split)
        unraised += lost
        without = {u.name for u in lost}
        raised = tuple(r for r in raised if r.attention.key_cache not in without)
    graphs.append(group_ops(decode, split, raised, unraised))
    graphs = list(split_over_gpus(set_sparsity(graphs, workload.sparsity), len(hw.gpus)))
    show("raise", lambda: "\n".join(str(g) for g in graphs))
    if verify:
        for graph in graphs:
            verify_graph(graph, "group_ops")
    fingerprint = fingerprint_of([g.phase for g in graphs])
    return Traced(function, tuple(graphs), fingerprint, tracer, tuple(splits))


def _prefill_graph(
    tracer: Tracer,
    hw: HardwareSpec,
    workload: Workload,
    raised: Sequence[RaisedAttention],
    micro_batches: int,
) -> tuple[OpGraph, tuple[Unraised, ...], SplitEquations]:
    """Returns the prefill of as many rows as fit, the attentions of the decode that it lacks, and its equations, sorted.

    A slice lies within one micro-batch.
    """
    memory = hw.gpus[0].memory_bytes * len(hw.gpus)
    most = workload.batch_size // micro_batches
    rows = _guess_rows(raised, workload, memory, most)
    found = _trace_prefill(tracer, workload, rows, raised)
    graph = found[0]
    if _fitting_rows(graph, memory * _SLACK, most) < rows:
        rows = _fitting_rows(graph, memory, most)
        found = _trace_prefill(tracer, workload, rows, raised)
    return found


def _trace_prefill(
    tracer: Tracer, workload: Workload, rows: int, raised: Sequence[RaisedAttention]
) -> tuple[OpGraph, tuple[Unraised, ...], SplitEquations]:
    phase = tracer("prefill", rows, workload.prompt_len, workload.prompt_len)
    split = split_equations(phase)
    found, lost = raise_prefill_attention(phase, split, raised)
    return group_ops(phase, split, found), lost, split


def _guess_rows(raised: Sequence[RaisedAttention], workload: Workload, memory_bytes: float, most: int) -> int:
    """Returns the rows whose attention logits and probabilities, in float32, keep to their share of memory."""
    heads = max((r.attention.num_heads for r in raised), default=1)
    return _largest_divisor(most, memory_bytes, 8 * heads * workload.prompt_len**2)


def _fitting_rows(graph: OpGraph, memory_bytes: float, batch: int) -> int:
    """Returns the largest divisor of the batch whose activations keep to their share of memory; at least 1."""
    traced = graph.phase.batch_size
    per_row = peak_working_set_bytes(graph) / traced
    return _largest_divisor(batch, memory_bytes, per_row)


def _largest_divisor(batch: int, memory_bytes: float, bytes_per_row: float) -> int:
    limit = max(1, int(_PREFILL_SHARE * memory_bytes / bytes_per_row))
    return max(d for d in range(1, batch + 1) if batch % d == 0 and d <= limit)


def fingerprint_of(phases: Sequence[TracedPhase]) -> str:
    """Returns a hash of what phases compute: names, roles and types of inputs, constants, equations, and outputs."""
    digest = hashlib.sha256()
    for phase in phases:
        digest.update(f"{phase.name} {phase.batch_size} {phase.chunk} {phase.max_len}\n".encode())
        shown: dict[object, str] = {}
        for i in phase.inputs:
            aval = aval_of(i.var)
            if aval not in shown:
                shown[aval] = str(aval)
            digest.update(f"{i.role} {i.name} {shown[aval]}\n".encode())
            if i.value is not None:
                digest.update(bytes_of(i.value))
        inputs, outputs = [i.var for i in phase.inputs], [o.atom for o in phase.outputs]
        digest.update(_ADDRESS.sub(b"", phase.forms.printed(inputs, outputs, phase.wired)))
    return digest.hexdigest()[:32]
