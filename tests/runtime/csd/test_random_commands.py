"""Random commands of several tasks against plain arrays: nothing is lost, nothing is written twice, all is counted.

Every step is one command; 450 runs of up to 50 steps make 10,000 steps and more. That a page is programmed once between
erases is the array's own rule, which raises wherever it is broken.
"""

from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from runtime.csd import Attend, Configure, Drive, Read, Reclaim, Release, Write

from .drive_model import (
    HEAD_SIZE,
    HEADS,
    LAYERS,
    MAX_LEN,
    Caches,
    check_accounting,
    check_contents,
    new_cache,
)
from .drives import spec
from .reference import attention

SMALL = spec(blocks_per_plane=136, pages_per_block=4)
"""3 tasks of 3 sequences have 1,080 valid pages at most; the flash is never full even where each keeps a block."""

NUMBERS = st.integers(0, 2)
LAYER = st.integers(0, LAYERS - 1)

Copy = tuple[int | None, tuple[bool, ...] | None]
COPIES: list[Copy] = [
    (None, None),
    (2, None),
    (4, None),
    (2, (True, False)),
    (2, (False, True)),
    (4, (False, True)),
]
"""Head channels in a channel page, and the layers that have any."""


class Commands(RuleBasedStateMachine):
    """A drive, and what it should hold."""

    steps = 0

    @initialize(seed=st.integers(0, 2**32 - 1))
    def start(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.drive = Drive(SMALL)
        self.caches: Caches = {}
        self.programmed = 0

    def teardown(self) -> None:
        if hasattr(self, "drive"):
            check_contents(self.drive, self.caches)
            check_accounting(self.drive, self.caches)

    def pick(self, number: int) -> int:
        """Returns a configured task near a number."""
        tasks = sorted(self.caches)
        return tasks[number % len(tasks)]

    def execute(self, command: Any) -> Any:
        type(self).steps += 1
        return self.drive.execute(command, 0.0).value

    @rule(number=NUMBERS, batch_size=st.integers(1, 3), copy=st.sampled_from(COPIES))
    def configure(self, number: int, batch_size: int, copy: Copy) -> None:
        """Starts a task that keeps K by channel in no layer, in one, or in both."""
        channel_group, layer_by_channel = copy
        command = Configure(
            LAYERS, HEADS, HEADS, HEAD_SIZE, np.dtype(np.float32), batch_size, MAX_LEN,
            channel_group=channel_group, layer_by_channel=layer_by_channel, task=number,
        )  # fmt: skip
        self.execute(command)
        self.caches[number] = new_cache(command)

    @precondition(lambda self: self.caches)
    @rule(number=NUMBERS, layer=LAYER, data=st.data(), count=st.integers(0, 24), back=st.integers(0, 12))
    def write(self, number: int, layer: int, data: st.DataObject, count: int, back: int) -> None:
        """Appends, or rewrites from a few tokens back, to any of the sequences."""
        task = self.pick(number)
        cache = self.caches[task]
        rows = data.draw(st.sets(st.sampled_from(sorted({row for _, row in cache})), min_size=1))
        chosen = [cache[layer, row] for row in rows]
        start = np.array(
            [max(seq.length - back, seq.first) if back % 3 == 1 else seq.length for seq in chosen]
        )
        lengths = np.array([min(count, MAX_LEN - at) for at in start.tolist()])
        pair = self.rng.standard_normal((2, len(rows), HEADS, max(count, 1), HEAD_SIZE)).astype(np.float32)
        self.execute(Write(layer, pair[0], pair[1], start, lengths, np.array(list(rows)), task=task))
        for index, sequence in enumerate(chosen):
            sequence.append(pair[:, index, :, : lengths[index]], int(start[index]))

    @precondition(lambda self: self.caches)
    @rule(number=NUMBERS, layer=LAYER, windowed=st.booleans())
    def attend(self, number: int, layer: int, windowed: bool) -> None:
        """Appends a token to every sequence that has room, and attends to what is not reclaimed."""
        task = self.pick(number)
        rows = [
            row
            for (at, row), seq in sorted(self.caches[task].items())
            if at == layer and seq.length < MAX_LEN
        ]
        chosen = [self.caches[task][layer, row] for row in rows]
        if not chosen:
            return
        window = min(seq.length + 1 - seq.first for seq in chosen)
        if all(seq.first == 0 for seq in chosen) and not windowed:
            window = None
        pair = self.rng.standard_normal((2, len(rows), HEADS, HEAD_SIZE)).astype(np.float32)
        query = self.rng.standard_normal((len(rows), HEADS, HEAD_SIZE)).astype(np.float32)
        lengths = np.array([seq.length + 1 for seq in chosen])
        command = Attend(
            layer, query, pair[0], pair[1], lengths, 0.5, window=window, rows=np.array(rows), task=task
        )
        found = self.execute(command)
        for index, sequence in enumerate(chosen):
            sequence.append(pair[:, index, :, None], sequence.length)
        key, value = (np.stack([seq.pair[side] for seq in chosen]) for side in range(2))
        np.testing.assert_allclose(
            found, attention(query, key, value, lengths, 0.5, window=window), atol=1e-5
        )

    @precondition(lambda self: self.caches)
    @rule(number=NUMBERS, layer=LAYER, share=st.floats(0, 1))
    def read(self, number: int, layer: int, share: float) -> None:
        task = self.pick(number)
        cache = self.caches[task]
        chosen = [seq for (at, _), seq in sorted(cache.items(), key=lambda item: item[0]) if at == layer]
        first = np.array([seq.first for seq in chosen])
        lengths = np.array([round(seq.first + share * (seq.length - seq.first)) for seq in chosen])
        found = self.execute(Read(layer, lengths, first=first, task=task))
        for side in range(2):
            for index, (seq, begin, end) in enumerate(zip(chosen, first, lengths, strict=True)):
                assert (found[side][index, :, begin:end] == seq.pair[side, :, begin:end]).all()
                assert not found[side][index, :, end:].any()

    @precondition(lambda self: self.caches)
    @rule(number=NUMBERS, everyone=st.booleans(), layer=st.none() | LAYER, row=st.none() | st.integers(0, 2))
    def reclaim(self, number: int, everyone: bool, layer: int | None, row: int | None) -> None:
        """Drops whole sequences: of a task or of all, of a layer or of all, one or all."""
        tasks = sorted(self.caches) if everyone else [self.pick(number)]
        fewest = min(len(self.caches[task]) // LAYERS for task in tasks)
        rows = None if row is None else np.array([row % fewest])
        self.execute(Reclaim(layer, rows, task=None if everyone else tasks[0]))
        for task in tasks:
            for (at, index), sequence in self.caches[task].items():
                if layer in (None, at) and (rows is None or index == rows[0]):
                    sequence.cut(0)

    @precondition(lambda self: self.caches)
    @rule(number=NUMBERS, layer=LAYER, row=st.integers(0, 2), share=st.floats(0, 1), front=st.booleans())
    def reclaim_range(self, number: int, layer: int, row: int, share: float, front: bool) -> None:
        """Drops a front or an end of one sequence."""
        task = self.pick(number)
        cache = self.caches[task]
        row %= len(cache) // LAYERS
        sequence = cache[layer, row]
        middle = round(sequence.first + share * (sequence.length - sequence.first))
        tokens = (0, middle) if front else (middle, sequence.length)
        programmed = self.drive._nand.pages_programmed
        self.execute(Reclaim(layer, np.array([row]), tokens, task=task))
        if front:
            assert self.drive._nand.pages_programmed == programmed
        sequence.drop(*tokens)

    @precondition(lambda self: self.caches)
    @rule(number=NUMBERS)
    def release(self, number: int) -> None:
        task = self.pick(number)
        self.execute(Release(task))
        del self.caches[task]

    @invariant()
    def counters_never_fall(self) -> None:
        if hasattr(self, "drive"):
            assert self.drive._nand.pages_programmed >= self.programmed
            self.programmed = self.drive._nand.pages_programmed


def test_random_commands() -> None:
    Commands.steps = 0
    run = settings(
        max_examples=450, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Commands, settings=run)
    assert Commands.steps >= 10_000
