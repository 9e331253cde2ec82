"""Runs the phases of a plan for requests in slots: prefills of those that join, and decode steps of all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from runtime.decode import DecodeStart, OpenRows
from runtime.phases import Phases
from runtime.prefill import Prefill
from runtime.share_rows import NO_SLOT
from runtime.slots import Slot, Slots, settings_of

Take = Callable[[Slot, int, int, float], bool]
"""Called with a slot, the tokens that its caches hold now, the token made, and when; tells whether the steps are to end."""


class SlotRunner:
    """Performs what slots need; all shapes are those of the plan, so nothing is compiled when requests come and go.

    Args:
        phases: The plan's, compiled.
        slots: Who has which row.
        take: Told of every token.
    """

    def __init__(self, phases: Phases, slots: Slots, take: Take) -> None:
        self._phases, self._slots, self._take = phases, slots, take
        self._cursors: list[Mapping[str, Any]] = [phases.first_counters] * slots.micro_batches.count
        phases.prepare_sampling()

    def join(self, rows: Sequence[int], begin_s: float) -> float:
        """Brings the prompts of requests that have just got their rows into the caches.

        Returns:
            When everything is there.

        Raises:
            SessionError: A step failed.
        """
        by_micro_batch = self._slots.micro_batches.split(rows)
        prefill = self._phases.prefill
        if prefill is None:
            for number, own in by_micro_batch:
                self._begin_fed(number, own)
            return begin_s
        packed = [
            (number, pack)
            for number, own in by_micro_batch
            for pack in _packs(own, prefill.program.phase.rows, self._slots.micro_batches.num_rows)
        ]
        return self._prefill(prefill, packed, begin_s)

    def _prefill(self, prefill: Prefill, packed: list[tuple[int, np.ndarray]], begin_s: float) -> float:
        """Runs a prefill for each pack: a micro-batch, and int32[rows] that name its rows."""
        phases, phase = self._phases, prefill.program.phase
        counters = phases.prefill_counters
        assert counters is not None
        cursors = counters.initial(phase.graph.phase)
        place = phases.system.processors[prefill.program.logits_device].place
        frames, given, settings = [], [], []
        for number, rows in packed:
            held = dict(self._slots.of(number))
            slots = [held[row] if row != NO_SLOT else None for row in rows.tolist()]
            tokens = np.zeros((phase.rows, phase.graph.phase.chunk), np.int32)
            for index, slot in enumerate(slots):
                if slot is not None:
                    tokens[index, : len(slot.prompt)] = slot.prompt
            lengths = np.array([1 if slot is None else len(slot.prompt) for slot in slots], np.int32)
            frames.append(prefill.frame(tokens, number, rows, lengths, cursors))
            given.append(slots)
            settings.append(place(settings_of(slots)))
        end_s = prefill.run(frames, begin_s)
        chosen = [prefill.sample(frame, own) for frame, own in zip(frames, settings, strict=True)]
        end_s = phases.system.processors[prefill.program.logits_device].wait_for(chosen, end_s)
        for (number, rows), frame in zip(packed, frames, strict=True):
            made = counters.advanced(frame.told, cursors)
            self._cursors[number] = _with_rows(self._cursors[number], made, rows, phases.first_counters)
        for slots, tokens in zip(given, jax.device_get(chosen), strict=True):
            for slot, token in zip(slots, tokens.tolist(), strict=True):
                if slot is not None:
                    self._take(slot, len(slot.prompt), token, end_s)
        return end_s

    def _begin_fed(self, number: int, rows: list[int]) -> None:
        """Lets rows begin with empty state; their prompts go in token by token."""
        if not rows:
            return
        slots = np.full(self._slots.micro_batches.num_rows, NO_SLOT, np.int32)
        slots[rows] = rows
        self._cursors[number] = _with_rows(
            self._cursors[number], self._phases.first_counters, slots, self._phases.first_counters
        )
        self._phases.system.states.reset(number, slots)

    def decode(self, begin_s: float, *, watched: bool, most: int | None = None) -> float:
        """Runs decode steps until a request ends, or one may join.

        Args:
            begin_s: When the first may start.
            watched: Whether somebody has to see each token at once; else tokens stay on the device until the end.
            most: Steps at most; None for as many as there are.

        Returns:
            When the last step has ended.

        Raises:
            SessionError: A step failed; tokens made before it have been taken.
        """
        count, phases = self._slots.micro_batches.count, self._phases
        num_steps = min(slot.steps_left for _, slot in self._slots.taken())
        num_steps = num_steps if most is None else min(num_steps, most)
        given = [_Given.of(self._slots, number, num_steps) for number in range(count)]
        place = phases.processor.place
        opened = [self._slots.open_rows(number) for number in range(count)]
        made: list[list[tuple[jax.Array, float]]] = [[] for _ in range(count)]
        newest: dict[int, jax.Array] = {}
        ended = False

        def feed(step: int, number: int, tokens: jax.Array) -> jax.Array:
            known = given[number]
            if step == 0 or step >= known.tokens.shape[1]:
                return tokens
            return phases.feed(*place((step < known.counts, known.tokens[:, step])), tokens)

        def take(step: int, number: int, tokens: jax.Array, end_s: float) -> bool:
            nonlocal ended
            made[number].append((tokens, end_s))
            newest[number] = tokens
            if watched:
                ended |= self._take_steps(number, made[number])
                made[number].clear()
            return ended

        start = DecodeStart(
            [place(known.tokens[:, 0]) for known in given],
            [known.lengths for known in given],
            self._cursors,
            num_steps,
            begin_s,
            [OpenRows(own.slots, place(own.settings)) for own in opened],
        )
        try:
            end_s = phases.decode.run(start, feed, take)
            self._cursors = [phases.decode.cursors(number) for number in range(count)]
            end_s = phases.processor.wait_for(list(newest.values()), end_s)
        finally:
            for number in range(count):
                self._take_steps(number, made[number])
        return end_s

    def _take_steps(self, number: int, made: list[tuple[jax.Array, float]]) -> bool:
        """Hands out the tokens of a micro-batch's steps; tells whether somebody wants to end."""
        ended = False
        for tokens, (_, end_s) in zip(jax.device_get([t for t, _ in made]), made, strict=True):
            for row, slot in self._slots.of(number):
                ended |= self._take(slot, slot.num_cached + 1, int(tokens[row]), end_s)
        return ended


@dataclass(frozen=True, eq=False)
class _Given:
    """What rows of a micro-batch have to take in, whatever they make.

    Attributes:
        lengths: int32[rows], tokens cached.
        tokens: int32[rows, n], known tokens that are not cached, padded on the right.
        counts: int32[rows], how many.
    """

    lengths: np.ndarray
    tokens: np.ndarray
    counts: np.ndarray

    @staticmethod
    def of(slots: Slots, number: int, num_steps: int) -> _Given:
        """Returns what the next ``num_steps`` steps take in."""
        held = dict(slots.of(number))
        num_rows = slots.micro_batches.num_rows
        lengths, counts = np.zeros(num_rows, np.int32), np.zeros(num_rows, np.int32)
        for row, slot in held.items():
            lengths[row] = slot.num_cached
            counts[row] = min(num_steps, slot.num_known - slot.num_cached)
        tokens = np.zeros((num_rows, max(1, int(counts.max(initial=0)))), np.int32)
        for row, slot in held.items():
            tokens[row, : counts[row]] = slot.text[slot.num_cached :][: counts[row]]
        return _Given(lengths, tokens, counts)


def _packs(own: Sequence[int], num_rows: int, size: int) -> list[np.ndarray]:
    """Returns rows of a micro-batch of ``size`` in packs of ``num_rows``; ``NO_SLOT`` fills what is left of the last."""
    if num_rows == size:
        packs = [np.where(np.isin(np.arange(size), own), np.arange(size), NO_SLOT)] if own else []
    else:
        packs = [np.array(own[at : at + num_rows]) for at in range(0, len(own), num_rows)]
    return [np.pad(p, (0, num_rows - len(p)), constant_values=NO_SLOT).astype(np.int32) for p in packs]


def _with_rows(
    cursors: Mapping[str, Any], made: Mapping[str, Any], rows: np.ndarray, like: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Returns counters that have those of ``rows`` from ``made``; one without rows is taken as it was made."""
    found: dict[str, Any] = {}
    for name, whole in like.items():
        new = np.asarray(made[name])
        if has_rows(whole):
            kept = np.array(cursors[name])
            kept[rows[rows != NO_SLOT]] = new[rows != NO_SLOT]
            new = kept
        found[name] = new
    return found


def has_rows(counter: np.ndarray) -> bool:
    """Tells whether a counter of the model's own has one number for each row."""
    return counter.ndim > 0
