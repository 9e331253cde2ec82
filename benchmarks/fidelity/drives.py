"""Times commands of drives, from submission to delivery, by the wall clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np

from benchmarks.fidelity.bars import TOGETHER_TOLERANCE, Held
from cost_models import HardwareSpec
from runtime.clock import WallClock
from runtime.csd import Attend, Command, Configure, Drive, DriveQueue, FileBacking, Sparse, Write

ROWS, HEADS, HEAD_SIZE, DTYPE = 8, 8, 64, np.dtype(np.float16)
CHANNEL_GROUP = 8
"""Channels that share a page with 256 tokens."""
ATTENDED_TOKENS = 512
"""8.4 MB of K and V: 150 ms at the demo's 56 MB/s."""
SPARSE = Sparse(8, np.full(ROWS, 32), np.full(ROWS, 4), mean_value=True)
"""1/8 of the channels and 1/16 of the tokens, so 1/8 of K and V."""
WRITTEN_TOKENS = 160
"""2.6 MB of K and V: 100 ms at the rate at which the demo's planes program, 26 MB/s."""

CommandOf = Callable[[int], Command]
"""Makes the command of a repeat."""


class TimedDrives:
    """Drives of one description, each behind its queue, on one wall clock.

    Args:
        queues: One for each drive.
        clock: Theirs.
        repeats: How often each operation is timed, after once that does not count.
    """

    def __init__(self, queues: Sequence[DriveQueue], clock: WallClock, repeats: int) -> None:
        self._queues, self._clock, self._repeats = queues, clock, repeats
        self._rng = np.random.default_rng(0)
        self._query = self._random(ROWS, HEADS, HEAD_SIZE)
        kv = self._random(2, ROWS, HEADS, WRITTEN_TOKENS, HEAD_SIZE)
        self._kv = kv[0], kv[1]
        filled = self._random(2, ROWS, HEADS, ATTENDED_TOKENS, HEAD_SIZE)
        for queue in queues:
            most = ATTENDED_TOKENS + (repeats + 1) * WRITTEN_TOKENS
            queue.submit(
                Configure(1, HEADS, HEADS, HEAD_SIZE, DTYPE, ROWS, most, channel_group=CHANNEL_GROUP)
            )
            queue.submit(Write(0, filled[0], filled[1], np.zeros(ROWS, int)))
        for queue in queues:
            queue.submit(self.dense_attend(0)).result()

    def dense_attend(self, repeat: int) -> Attend:
        """Returns a command that attends to the first tokens of all sequences."""
        return Attend(0, self._query, None, None, np.full(ROWS, ATTENDED_TOKENS), HEAD_SIZE**-0.5)

    def sparse_attend(self, repeat: int) -> Command:
        """Returns a command that attends to few of the first tokens of all sequences, chosen by some channels."""
        return replace(self.dense_attend(repeat), sparse=SPARSE)

    def write(self, repeat: int) -> Command:
        """Returns a command that appends to all sequences."""
        return Write(0, *self._kv, np.full(ROWS, ATTENDED_TOKENS + repeat * WRITTEN_TOKENS))

    def held(self, name: str, command_of: CommandOf) -> Held:
        """Times a command on one drive against what the mechanism asks."""
        timed = [self._time(command_of(repeat), self._queues[:1]) for repeat in range(self._repeats + 1)][1:]
        return Held(name, tuple(asked for asked, _ in timed), tuple(took for _, took in timed))

    def held_together(self, name: str, command_of: CommandOf) -> Held:
        """Times a command on all drives at once against one drive alone, in turns."""
        alone, together = [], []
        for repeat in range(self._repeats + 1):
            alone.append(self._time(command_of(repeat), self._queues[:1])[1])
            together.append(self._time(command_of(repeat), self._queues)[1])
        return Held(name, tuple(alone[1:]), tuple(together[1:]), TOGETHER_TOLERANCE)

    def _time(self, command: Command, queues: Sequence[DriveQueue]) -> tuple[float, float]:
        """Returns the seconds that the slowest drive asks for, and those until all have delivered."""
        begin_s = self._clock.now_s()
        futures = [queue.submit(command) for queue in queues]
        done = [future.result() for future in futures]
        return max(one.end_s - one.start_s for one in done), self._clock.now_s() - begin_s

    def _random(self, *shape: int) -> np.ndarray:
        return self._rng.standard_normal(shape, np.float32).astype(DTYPE)


@contextmanager
def timed_drives(
    hw: HardwareSpec, count: int, repeats: int, backing: FileBacking | None
) -> Iterator[TimedDrives]:
    """Opens drives like a system's first one, with a cache in each."""
    clock = WallClock()
    with ExitStack() as stack:
        queues: list[DriveQueue] = []
        for number in range(count):
            drive = Drive(hw.drives[0], f"csd{number}", backing)
            stack.callback(drive.close)
            queues.append(stack.enter_context(DriveQueue(drive, clock)))
        yield TimedDrives(queues, clock, repeats)
