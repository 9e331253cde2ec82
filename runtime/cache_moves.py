"""Moves K and V: to their homes, and to where they are used for once."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from partitioner.ir.layout import as_rows
from partitioner.ir.op import StoredInput
from partitioner.jaxpr import Var
from partitioner.plan.steps import Move
from runtime.attention_parts import cache_part, merge_caches, new_part
from runtime.crossings import Crossings
from runtime.frame import Frame
from runtime.hand_over import fetch
from runtime.kept_inputs import halves, merge_halves
from runtime.links import Transfer
from runtime.program import Program, describe_aval
from runtime.share_rows import NO_SLOT
from runtime.share_runner import ShareRunner
from runtime.system import System
from runtime.token_window import leaving_page


class CacheMoves:
    """Performs the moves of caches of one phase.

    Args:
        program: The phase.
        system: Devices, links, caches and clock.
        shares: Stores in the shares of processors.
        crossings: Takes the time of links.
    """

    def __init__(self, program: Program, system: System, shares: ShareRunner, crossings: Crossings) -> None:
        self._program = program
        self._system = system
        self._shares = shares
        self._crossings = crossings

    def warm_up(self) -> None:
        """Compiles what moves to caches on processors run, by running it on empty caches."""
        seen: set[tuple[object, ...]] = set()
        for step in self._program.phase.steps:
            if not isinstance(step, Move) or step.dst not in self._system.processors:
                continue
            share = step.share and (step.share.rows, step.share.kv_heads)
            kinds = (step.kind, step.dst, share, *(describe_aval(v) for v in step.values))
            if step.kind in ("append_cache", "store_cache") and kinds not in seen:
                seen.add(kinds)
                self._warm_up(step)

    def _warm_up(self, step: Move) -> None:
        states = self._system.states
        place = self._system.processors[step.dst].place
        values = {v: place(np.zeros(*describe_aval(v))) for v in step.values}
        source = self._program.attention[step.attention or ""].source
        rows = self._program.phase.rows
        empty = np.zeros(rows, np.int32) if step.kind == "append_cache" else None
        every_kind_of_slots = np.arange(rows), np.full(rows, NO_SLOT)
        if source is not None:
            for slots in every_kind_of_slots:
                self._keep(0, step.names[0], source, values[source.value], slots, empty)
        elif empty is not None:
            attention = self._program.attention[step.attention or ""]
            states.append(0, attention, (values[attention.new_key], values[attention.new_value]), empty)
        elif self._system.share_caches.holds(step.attention or "", step.dst):
            self._shares.warm_up(step, {self._state_name(var): value for var, value in values.items()})
        else:
            for var, value in values.items():
                for slots in every_kind_of_slots:
                    states.store(0, self._state_name(var), var, value, slots)

    def stream(self, frame: Frame, step: Move, ready_s: float) -> float:
        """Copies a cache, or a share of one, from its home for one use; returns when it is there."""
        destination = self._system.processors[step.dst]
        if not step.src.startswith("csd"):
            transfer = self._crossings.begin(frame, step, ready_s)
            arrived = destination.place_named(
                {n: self._system.states.read(frame.micro_batch, n) for n in step.names}
            )
            for name, value in arrived.items():
                frame.put(step.dst, name, value)
            destination.arrive(arrived)
            return self._crossings.end(transfer, ())
        attention, share = self._crossings.shared(step)
        drive = self._system.drives[step.src]
        name = step.attention or ""
        rows = drive.task.rows(name, frame.micro_batch)
        pair, read_s = drive.read(name, rows, frame.before[slice(*share.rows)], ready_s)
        transfer = self._crossings.begin(frame, step, ready_s + drive.first_page_s)
        whole: dict[str, jax.Array] = {}
        if attention.source is not None:
            parts = frame.put_part(step.dst, step.names[0], share, pair)
            if parts is not None:
                whole[step.names[0]] = destination.place(merge_halves(parts, attention, frame.num_rows))
                frame.put(step.dst, step.names[0], whole[step.names[0]])
            return max(read_s, self._crossings.end(transfer, whole))
        for name, part in zip((attention.key_cache, attention.value_cache), pair, strict=True):
            parts = frame.put_part(step.dst, name, share, part)
            if parts is not None:
                merged = merge_caches(parts, attention, frame.num_rows)
                whole |= destination.place_named({name: merged})
                frame.put(step.dst, name, whole[name])
        return max(read_s, self._crossings.end(transfer, whole))

    def append(self, frame: Frame, step: Move, ready_s: float) -> float:
        """Puts the new token into its cache; returns when it is stored.

        Where the cache is on the device that made the token, nobody waits: whatever reads it there comes after the append.
        """
        name = step.attention or ""
        attention = self._program.attention[name]
        values = [frame.read(step.src, v) for v in step.values]
        stays = step.src == step.dst
        if not stays:
            ready_s = self._system.processors[step.src].wait_for(values, ready_s)
        transfer = self._crossings.begin(frame, step, ready_s)
        if attention.source is not None and step.dst in self._system.processors:
            kept = self._keep(
                frame.micro_batch, step.names[0], attention.source, values[0], frame.slots, frame.before
            )
            return self._crossings.end(transfer, () if stays else kept)
        made = dict(zip(step.values, values, strict=True))
        if attention.source is not None:
            return self._write(frame, step, transfer, values[0], frame.before, np.ones_like(frame.before))
        pair = made[attention.new_key], made[attention.new_value]
        if step.dst not in self._system.drives:
            arrived = self._system.states.append(frame.micro_batch, attention, pair, frame.before)
            return self._crossings.end(transfer, () if stays else arrived)
        attention, share = self._crossings.shared(step)
        found = frame.rows_of(share)
        if not found.count:
            return ready_s
        key, value = (
            new_part(np.asarray(a), attention, share, frame.num_rows)[found.own, :, None] for a in pair
        )
        before = frame.before[found.taken]
        drive = self._system.drives[step.dst]
        rows, one = drive.task.rows(name, frame.micro_batch, found.own), np.ones(found.count, np.int32)
        end_s = drive.write(name, (key, value), rows, before, one, transfer.arrival_s, self._program.name)
        return max(end_s, self._crossings.end(transfer, ()))

    def store(self, frame: Frame, step: Move, ready_s: float) -> float:
        """Takes what a prefill made to its home; returns when it is stored.

        Where that is the device that made it, nobody waits: whatever reads the cache there comes after the store.
        """
        name = step.attention or ""
        values = [frame.read(step.src, v) for v in step.values]
        stays = step.src == step.dst
        if not stays:
            ready_s = self._system.processors[step.src].wait_for(values, ready_s)
        transfer = self._crossings.begin(frame, step, ready_s)
        source = self._program.attention[name].source if step.attention else None
        if source is not None and step.dst in self._system.processors:
            kept = self._keep(frame.micro_batch, step.names[0], source, values[0], frame.slots, None)
            return self._crossings.end(transfer, kept)
        if source is not None:
            return self._write(frame, step, transfer, values[0], np.zeros_like(frame.after), frame.after)
        if step.dst in self._system.processors and not self._system.share_caches.holds(name, step.dst):
            stored = [
                self._system.states.store(frame.micro_batch, self._state_name(var), var, value, frame.slots)
                for var, value in zip(step.values, values, strict=True)
            ]
            return self._crossings.end(transfer, () if stays else stored)
        attention, share = self._crossings.shared(step)
        found = frame.rows_of(share)
        if not found.count:
            return ready_s
        by_name = {self._state_name(v): a for v, a in zip(step.values, values, strict=True)}
        if step.dst in self._system.processors:
            stored = self._shares.store(frame, step, share, by_name)
            return self._crossings.end(transfer, () if stays else stored)
        key, value = (
            fetch(by_name[n], lambda a: cache_part(a, attention, found.taken, share, frame.num_rows))
            for n in (attention.key_cache, attention.value_cache)
        )
        drive = self._system.drives[step.dst]
        rows = drive.task.rows(name, frame.micro_batch, found.own)
        empty, lengths = np.zeros(found.count, np.int32), frame.after[found.taken]
        lengths = lengths if share.cut is None else share.cut.stored(lengths)
        end_s = drive.write(name, (key, value), rows, empty, lengths, transfer.arrival_s, self._program.name)
        return max(end_s, self._crossings.end(transfer, ()))

    def page_out(self, frame: Frame, step: Move, ready_s: float) -> float:
        """Takes the tokens that leave a window of the newest ones to a drive; returns when it has them.

        Rows whose window has room for another token are left out, and most steps have no others.
        """
        name = step.attention or ""
        _, share = self._crossings.shared(step)
        cut, found = share.cut, frame.rows_of(share)
        assert cut is not None
        after = frame.after[found.taken]
        full = np.flatnonzero(cut.leaving(after))
        if not full.size:
            return ready_s
        window = next(s for s in self._program.plan.caches[name] if s.device == step.src)
        pair = self._system.share_caches.read(frame.micro_batch, name, step.src)
        own, first = found.own[full], cut.departed(after[full] - 1)
        page = leaving_page(pair, window, share, own, first, cut)
        transfer = self._crossings.begin(frame, step, ready_s)
        drive = self._system.drives[step.dst]
        rows = drive.task.rows(name, frame.micro_batch, own)
        count = np.full(full.size, cut.page_tokens)
        end_s = drive.write(name, page, rows, first, count, transfer.arrival_s, self._program.name)
        return max(end_s, self._crossings.end(transfer, ()))

    def _keep(
        self,
        micro_batch: int,
        name: str,
        source: StoredInput,
        value: Any,
        slots: np.ndarray,
        lengths: np.ndarray | None,
    ) -> Any:
        """Puts the input of a layer into the cache that keeps it, on a processor.

        Args:
            micro_batch: Whose rows they are.
            name: Of the cache.
            source: Tells the axes of the input.
            value: The input, made anywhere.
            slots: Integer ``[rows]``, the row of the micro-batch that each row is, or ``NO_SLOT``.
            lengths: Tokens of each row that are there already; None for a prefill's.
        """
        made = as_rows(value, source.batch_axis, source.token_axis)
        states = self._system.states
        if lengths is not None:
            return states.append_input(micro_batch, name, made, lengths)
        return states.store(micro_batch, name, source.value, made, slots)

    def _write(
        self,
        frame: Frame,
        step: Move,
        transfer: Transfer,
        value: Any,
        start: np.ndarray,
        count: np.ndarray,
    ) -> float:
        """Writes a drive's share of the input of a layer, ``count`` tokens behind the first ``start`` of each row."""
        attention, share = self._crossings.shared(step)
        source = attention.source
        assert source is not None
        found = frame.rows_of(share)
        if not found.count:
            return transfer.begin_s
        made = as_rows(np.asarray(value), source.batch_axis, source.token_axis)
        pair = halves(made, attention, found.taken, share)
        drive, name = self._system.drives[step.dst], step.attention or ""
        rows = drive.task.rows(name, frame.micro_batch, found.own)
        end_s = drive.write(
            name, pair, rows, start[found.taken], count[found.taken], transfer.arrival_s, self._program.name
        )
        return max(end_s, self._crossings.end(transfer, ()))

    def _state_name(self, var: Var) -> str:
        return self._program.phase.graph.output_of[var].name
