"""Decode steps as the plan's runs and moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from runtime.decode import DecodeStart, Feed, Made
from runtime.frame import Frame
from runtime.index_inputs import Cursors
from runtime.share_rows import NO_SLOT
from runtime.step_runner import StepRunner
from runtime.streams import Executor


class SteppedDecode:
    """Runs whole decode steps on all devices of a plan; micro-batches are streams that overlap.

    Args:
        runner: Performs the steps of the decode.
        executor: Orders them.
        counters: Advances the model's own counters.
    """

    def __init__(self, runner: StepRunner, executor: Executor, counters: Cursors) -> None:
        self._runner = runner
        self._executor = executor
        self._counters = counters
        self._streams: list[_TokenStream] = []
        self._all = np.arange(runner.program.phase.rows, dtype=np.int32)

    def run(self, start: DecodeStart, feed: Feed, made: Made) -> float:
        """Runs all steps of all micro-batches; see :meth:`Decode.run`."""
        self._streams = [_TokenStream(self, number, start, feed, made) for number in range(len(start.tokens))]
        return self._executor.run(self._streams, start.begin_s)

    def prepare_sampling(self) -> None:
        """Compiles the draw of tokens, the first time."""
        self._runner.prepare_sampling()

    def cursors(self, number: int) -> Mapping[str, Any]:
        """Returns the model's own counters of a micro-batch after the last run."""
        return self._streams[number].cursors

    def frame(
        self,
        number: int,
        tokens: jax.Array,
        lengths: np.ndarray,
        cursors: Mapping[str, Any],
        slots: np.ndarray | None,
    ) -> Frame:
        """Returns one step of a micro-batch, tokens in; None stands for slots that all have a request."""
        taken = self._all if slots is None else slots
        return self._runner.next_frame(tokens, number, taken, lengths, cursors)

    @property
    def runner(self) -> StepRunner:
        """Performs the steps."""
        return self._runner

    def advanced(self, frame: Frame, cursors: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the model's counters after a step."""
        return self._counters.advanced(frame.told, cursors)


class _TokenStream:
    """The steps of one micro-batch: each takes in what the one before it made."""

    def __init__(
        self, decode: SteppedDecode, number: int, start: DecodeStart, feed: Feed, made: Made
    ) -> None:
        self.runner = decode.runner
        self.cursors = start.cursors[number]
        self._decode, self._number, self._feed, self._made = decode, number, feed, made
        self._tokens = start.tokens[number]
        self._lengths = start.lengths[number].copy()
        self._open = None if start.open is None else start.open[number]
        idle = self._open is not None and not (self._open.slots != NO_SLOT).any()
        self._num_steps = 0 if idle else start.num_steps
        self._step = 0
        self._frame: Frame | None = None

    def frames(self, now_s: float) -> Sequence[Frame]:
        """Takes the tokens of the last step, and returns the next one."""
        if self._frame is not None:
            settings = None if self._open is None else self._open.settings
            self._tokens = self.runner.sample(self._frame, settings)
            self.cursors = self._decode.advanced(self._frame, self.cursors)
            self._lengths = self._after(self._frame)
            self._frame = None
            if self._made(self._step, self._number, self._tokens, now_s):
                return ()
            self._step += 1
        if self._step == self._num_steps:
            return ()
        tokens = self._feed(self._step, self._number, self._tokens)
        slots = None if self._open is None else self._open.slots
        self._frame = self._decode.frame(self._number, tokens, self._lengths, self.cursors, slots)
        return (self._frame,)

    def _after(self, frame: Frame) -> np.ndarray:
        """Returns the tokens that rows have cached after a step: none where there is no request."""
        return frame.after if self._open is None else np.where(frame.slots == NO_SLOT, 0, frame.after)
