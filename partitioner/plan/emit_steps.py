"""Emits a phase's steps: runs of segments, and every move they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from partitioner.costing import Costing, itemsize
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention, Op
from partitioner.jaxpr import Var, num_bytes
from partitioner.plan.decisions import Decision
from partitioner.plan.segment_ops import streams_cache
from partitioner.plan.steps import Move, MoveKind, PathKind, Run, Segment, Share, Step

_BUFFERS = 2
"""Streams in flight per kind: one in use and one on its way."""


def emit_steps(
    graph: OpGraph,
    segments: Sequence[Segment],
    decisions: Mapping[str, Decision],
    caches: Mapping[str, tuple[Share, ...]],
    kept_on: Mapping[str, frozenset[str]],
    costing: Costing,
) -> tuple[Step, ...]:
    """Returns the steps in an order in which every step follows those it waits for.

    Args:
        graph: The phase's ops.
        segments: Its segments.
        decisions: Where ops run.
        caches: Shares of each attention's cache.
        kept_on: For each parameter the devices that keep it.
        costing: Knows paths and shares.
    """
    emitter = _Emitter(graph, decisions, caches, kept_on, costing)
    for segment in segments:
        emitter.emit(segment)
    return tuple(emitter.steps)


class _Emitter:
    """Keeps track of where values are while steps are added."""

    def __init__(
        self,
        graph: OpGraph,
        decisions: Mapping[str, Decision],
        caches: Mapping[str, tuple[Share, ...]],
        kept_on: Mapping[str, frozenset[str]],
        costing: Costing,
    ) -> None:
        self.steps: list[Step] = []
        self._graph, self._decisions, self._caches = graph, decisions, caches
        self._kept_on, self._costing = kept_on, costing
        self._phase = graph.phase.name
        self._ops = {op.name: op for op in graph.ops}
        self._made: dict[Var, tuple[str, tuple[int, ...]]] = {}
        self._at: dict[tuple[Var, str], tuple[int, ...]] = {}
        self._stream_users: dict[str, list[int]] = {"stream_weights": [], "stream_cache": []}

    def emit(self, segment: Segment) -> None:
        """Adds the steps of one segment."""
        if segment.attention is not None:
            self._emit_attend(segment, self._ops[segment.attention])
        else:
            self._emit_run(segment)

    def _emit_run(self, segment: Segment) -> None:
        device = segment.device
        streams = self._stream_in(segment)
        after = {step for steps in streams.values() for step in steps}
        after.update(self._bring(segment.inputs, device))
        run = self._run(segment, device, None, after)
        for kind in streams:
            self._stream_users[kind].append(run)
        for v in segment.outputs:
            self._made[v] = (device, (run,))
            self._at[v, device] = (run,)
        for name in segment.ops:
            op = self._ops[name]
            if op.attention is not None:
                self._emit_cache_moves(op, op.attention, device, run, streams.get("stream_cache", []))

    def _stream_in(self, segment: Segment) -> dict[str, list[int]]:
        device = segment.device
        streams: dict[str, list[int]] = {}
        described = [self._graph.input_of[v] for v in segment.inputs if v in self._graph.input_of]
        remote = [i for i in described if i.role == "param" and device not in self._kept_on[i.name]]
        by_home: dict[str, list[str]] = {}
        for i in remote:
            by_home.setdefault(sorted(self._kept_on[i.name])[0], []).append(i.name)
        for home, names in by_home.items():
            size = sum(num_bytes(i.var) for i in remote if i.name in names)
            free = self._free_buffer("stream_weights")
            step = self._move("stream_weights", (), tuple(names), home, device, size, None, None, free)
            streams.setdefault("stream_weights", []).append(step)
        for name in segment.ops:
            op = self._ops[name]
            if op.attention and streams_cache(op, self._decisions[name], self._phase):
                names = cache_names(op.attention)
                tokens = self._costing.workload.max_len - 1
                free = self._free_buffer("stream_cache")
                for share in self._caches[name]:
                    size = round(self._costing.kv_bytes(op.attention, tokens, share.fraction))
                    step = self._move(
                        "stream_cache", (), names, share.device, device, size, name, share, free
                    )
                    streams.setdefault("stream_cache", []).append(step)
        return streams

    def _free_buffer(self, kind: str) -> set[int]:
        users = self._stream_users[kind]
        return {users[-_BUFFERS]} if len(users) >= _BUFFERS else set()

    def _bring(self, values: Sequence[Var], device: str) -> set[int]:
        """Adds hand-overs for values that are not on a device yet; returns the steps to wait for."""
        after: set[int] = set()
        missing: dict[str, list[Var]] = {}
        for v in values:
            if v not in self._made:
                continue
            here = self._at.get((v, device))
            if here is None:
                missing.setdefault(self._made[v][0], []).append(v)
            else:
                after.update(here)
        for src, moved in missing.items():
            waits = {s for v in moved for s in self._made[v][1]}
            size = sum(num_bytes(v) for v in moved)
            step = self._move("hand_over", tuple(moved), (), src, device, size, None, None, waits)
            for v in moved:
                self._at[v, device] = (step,)
            after.add(step)
        return after

    def _emit_attend(self, segment: Segment, op: Op) -> None:
        attention = op.attention
        assert attention is not None
        operands = (attention.query, attention.new_key, attention.new_value)
        consumer = self._consumer_device(op, attention)
        arrived: list[int] = []
        for share in _farthest_first(self._caches[op.name], consumer):
            waits: set[int] = set()
            for src in dict.fromkeys(self._made[v][0] for v in operands):
                moved = tuple(v for v in operands if self._made[v][0] == src)
                size = sum(_part(num_bytes(v), share) for v in moved)
                made = {s for v in moved for s in self._made[v][1]}
                if src == share.device:
                    waits |= made
                    continue
                waits.add(self._move("hand_over", moved, (), src, share.device, size, op.name, share, made))
            run = self._run(segment, share.device, share, waits)
            if share.device == consumer:
                arrived.append(run)
                continue
            size = _part(num_bytes(attention.output), share)
            arrived.append(
                self._move(
                    "hand_over", (attention.output,), (), share.device, consumer, size, op.name, share, {run}
                )
            )
        self._made[attention.output] = (consumer, tuple(arrived))
        self._at[attention.output, consumer] = tuple(arrived)

    def _consumer_device(self, op: Op, attention: Attention) -> str:
        readers = self._graph.consumers.get(attention.output, ())
        tiers = [self._decisions[self._graph.ops[r].name].anchor(self._phase) for r in readers]
        return self._costing.device(tiers[0]) if tiers else "gpu0"

    def _emit_cache_moves(
        self, op: Op, attention: Attention, device: str, run: int, streamed: Sequence[int]
    ) -> None:
        shares = self._caches[op.name]
        names = cache_names(attention)
        if attention.source is not None:
            self._emit_input_moves(op, attention, attention.source.value, {run, *streamed})
        elif self._phase == "prefill":
            updated = tuple(
                v
                for n in names
                for v in op.outputs
                if v in self._graph.output_of and self._graph.output_of[v].name == n
            )
            rows = self._graph.phase.batch_size
            tokens = self._graph.phase.max_len
            whole = 2 * rows * tokens * attention.num_kv_heads * attention.head_size
            whole *= itemsize(attention.cache_dtype)
            for share in shares:
                size = _part(whole, share)
                self._move("store_cache", updated, names, device, share.device, size, op.name, share, {run})
        elif streamed:
            operands = (attention.new_key, attention.new_value)
            waits = {run, *streamed} | {s for v in operands if v in self._made for s in self._made[v][1]}
            for share in shares:
                size = sum(_part(num_bytes(v), share) for v in operands)
                self._move("append_cache", operands, names, device, share.device, size, op.name, share, waits)

    def _emit_input_moves(self, op: Op, attention: Attention, value: Var, used: set[int]) -> None:
        """Adds what takes the input of a layer from where it was made to a cache that keeps it.

        Args:
            op: The attention op.
            attention: Its description.
            value: The input.
            used: What reads the cache as it was before.
        """
        src, made = self._made[value]
        kind: MoveKind = "store_cache" if self._phase == "prefill" else "append_cache"
        waits = set(made) if self._phase == "prefill" else {*made, *used}
        for share in self._caches[op.name]:
            size = _part(num_bytes(value), share)
            names = cache_names(attention)
            self._move(kind, (value,), names, src, share.device, size, op.name, share, waits)

    def _run(self, segment: Segment, device: str, share: Share | None, after: set[int]) -> int:
        step = Run(len(self.steps), segment.index, device, share, tuple(sorted(after)))
        self.steps.append(step)
        return step.id

    def _move(
        self,
        kind: MoveKind,
        values: tuple[Var, ...],
        names: tuple[str, ...],
        src: str,
        dst: str,
        size: int,
        attention: str | None,
        share: Share | None,
        after: set[int],
    ) -> int:
        path: PathKind = self._costing.path(src, dst)
        step = Move(
            len(self.steps), kind, values, names, src, dst, path, size, attention, share, tuple(sorted(after))
        )
        self.steps.append(step)
        return step.id


def _farthest_first(shares: Sequence[Share], consumer: str) -> list[Share]:
    """Returns shares with those first whose operands have a way to go, so that no device waits for another's share."""
    return sorted(shares, key=lambda share: share.device == consumer)


def cache_names(attention: Attention) -> tuple[str, ...]:
    """Returns the states that an attention's cache consists of: K and V, or the input of its layer."""
    return tuple(dict.fromkeys((attention.key_cache, attention.value_cache)))


def _part(size: int, share: Share) -> int:
    return round(size * share.fraction)
