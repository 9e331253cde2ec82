"""Emits a phase's steps: runs of segments, and every move they need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from partitioner.costing import Costing
from partitioner.cut_costs import statistics_bytes, stored_bytes
from partitioner.frontend.trace import TracedInput
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention, Op
from partitioner.jaxpr import Var, num_bytes
from partitioner.plan.decisions import Decision
from partitioner.plan.segment_ops import streams_cache
from partitioner.plan.share_operands import share_operands
from partitioner.plan.steps import Move, MoveKind, PathKind, Run, Segment, Share, Step
from partitioner.plan.stream_buffers import StreamWindow


def emit_steps(
    graph: OpGraph,
    segments: Sequence[Segment],
    decisions: Mapping[str, Decision],
    caches: Mapping[str, tuple[Share, ...]],
    kept_on: Mapping[str, frozenset[str]],
    costing: Costing,
    room_bytes: float,
) -> tuple[Step, ...]:
    """Returns the steps in an order in which every step follows those it waits for.

    Args:
        graph: The phase's ops.
        segments: Its segments.
        decisions: Where ops run.
        caches: Shares of each attention's cache.
        kept_on: For each parameter the devices that keep it.
        costing: Knows paths and shares.
        room_bytes: Room on the GPU for what is streamed.
    """
    emitter = _Emitter(graph, decisions, caches, kept_on, costing, room_bytes)
    for segment in segments:
        emitter.emit(segment)
    return tuple(emitter.steps)


class _Stream(NamedTuple):
    """Says what is copied from where for one use."""

    kind: MoveKind
    names: tuple[str, ...]
    src: str
    num_bytes: int
    attention: str | None = None
    share: Share | None = None


class _Emitter:
    """Keeps track of where values are while steps are added."""

    def __init__(
        self,
        graph: OpGraph,
        decisions: Mapping[str, Decision],
        caches: Mapping[str, tuple[Share, ...]],
        kept_on: Mapping[str, frozenset[str]],
        costing: Costing,
        room_bytes: float,
    ) -> None:
        self.steps: list[Step] = []
        self._graph, self._decisions, self._caches = graph, decisions, caches
        self._kept_on, self._costing = kept_on, costing
        self._phase = graph.phase.name
        self._ops = {op.name: op for op in graph.ops}
        self._made: dict[Var, tuple[str, tuple[int, ...]]] = {}
        self._at: dict[tuple[Var, str], tuple[int, ...]] = {}
        self._last_stream: dict[tuple[MoveKind, str, str], set[int]] = {}
        sliced = graph.phase.name == "prefill" and graph.phase.batch_size < costing.workload.batch_size
        self._windows = {
            device: StreamWindow(room_bytes if device == "gpu0" else 0.0, sliced=sliced)
            for device in ("gpu0", "host")
        }

    def emit(self, segment: Segment) -> None:
        """Adds the steps of one segment."""
        if segment.attention is not None:
            self._emit_attend(segment, self._ops[segment.attention])
        else:
            self._emit_run(segment)

    def _emit_run(self, segment: Segment) -> None:
        device = segment.device
        streams, moved = self._stream_in(segment)
        after = {step for steps in streams.values() for step in steps}
        after.update(self._bring(segment.inputs, device))
        run = self._run(segment, device, None, after)
        if streams:
            self._windows[device].used_by(run, moved)
        for v in segment.outputs:
            self._made[v] = (device, (run,))
            self._at[v, device] = (run,)
        for name in segment.ops:
            op = self._ops[name]
            if op.attention is not None:
                self._emit_cache_moves(op, op.attention, device, run, streams.get("stream_cache", []))

    def _stream_in(self, segment: Segment) -> tuple[dict[str, list[int]], int]:
        """Adds the streams that a segment needs; returns them by kind, and their bytes.

        Streams of weights follow each other, so that what else has to cross does not queue behind all that have room.
        """
        found = [*self._weight_streams(segment), *self._cache_streams(segment)]
        moved = sum(stream.num_bytes for stream in found)
        free = self._windows[segment.device].wait_for(moved)
        streams: dict[str, list[int]] = {}
        for kind, names, src, size, attention, share in found:
            last = self._last_stream.get((kind, src, segment.device), set())
            step = self._move(kind, (), names, src, segment.device, size, attention, share, free | last)
            if kind == "stream_weights":
                self._last_stream[kind, src, segment.device] = {step}
            streams.setdefault(kind, []).append(step)
        return streams, moved

    def _weight_streams(self, segment: Segment) -> list[_Stream]:
        described = [self._graph.input_of[v] for v in segment.inputs if v in self._graph.input_of]
        by_home: dict[str, list[TracedInput]] = {}
        for i in described:
            if i.role == "param" and segment.device not in self._kept_on[i.name]:
                by_home.setdefault(sorted(self._kept_on[i.name])[0], []).append(i)
        return [
            _Stream(
                "stream_weights", tuple(i.name for i in found), home, sum(num_bytes(i.var) for i in found)
            )
            for home, found in by_home.items()
        ]

    def _cache_streams(self, segment: Segment) -> list[_Stream]:
        found: list[_Stream] = []
        for name in segment.ops:
            op = self._ops[name]
            if op.attention and streams_cache(op, self._decisions[name], self._phase):
                names = cache_names(op.attention)
                tokens = self._costing.workload.max_len - 1
                for share in self._caches[name]:
                    size = round(self._costing.kv_bytes(op.attention, tokens, share.fraction))
                    found.append(_Stream("stream_cache", names, share.device, size, name, share))
        return found

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
        consumer = self._consumer_device(attention)
        arrived: list[int] = []
        runs: dict[Share, int] = {}
        for share in _farthest_first(self._caches[op.name], consumer):
            waits: set[int] = set()
            operands = share_operands(attention, share)
            for src in dict.fromkeys(self._made[v][0] for v in operands):
                moved = tuple(v for v in operands if self._made[v][0] == src)
                size = sum(_part(num_bytes(v), share) for v in moved)
                made = {s for v in moved for s in self._made[v][1]}
                if src == share.device:
                    waits |= made
                    continue
                waits.add(self._move("hand_over", moved, (), src, share.device, size, op.name, share, made))
            run = runs[share] = self._run(segment, share.device, share, waits)
            if share.device == consumer:
                arrived.append(run)
                continue
            size = _part(num_bytes(attention.output), share) + statistics_bytes(attention, share)
            arrived.append(
                self._move(
                    "hand_over", (attention.output,), (), share.device, consumer, size, op.name, share, {run}
                )
            )
        self._made[attention.output] = (consumer, tuple(arrived))
        self._at[attention.output, consumer] = tuple(arrived)
        self._emit_pages_out(op, attention, runs)

    def _emit_pages_out(self, op: Op, attention: Attention, runs: Mapping[Share, int]) -> None:
        """Adds what takes the tokens that leave a window of newest ones to the drives, behind all who attend to them."""
        cut = [share for share in runs if share.cut is not None]
        window = next((share for share in cut if share.cut and share.cut.side == "newest"), None)
        for share in cut:
            if window is None or share is window:
                continue
            size = round(self._costing.kv_bytes(attention, 1, share.fraction))
            waits = {runs[window], runs[share]}
            names = cache_names(attention)
            self._move("page_out", (), names, window.device, share.device, size, op.name, share, waits)

    def _consumer_device(self, attention: Attention) -> str:
        readers = self._graph.consumers.get(attention.output, ())
        tiers = [self._decisions[self._graph.ops[r].name].anchor(self._phase) for r in readers]
        return self._costing.links.device(tiers[0]) if tiers else "gpu0"

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
            rows = self._graph.phase.batch_size / self._costing.rows
            for share in shares:
                size = round(rows * stored_bytes(self._costing, attention, share, self._graph.phase.max_len))
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
        path: PathKind = self._costing.links.path(src, dst)
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
