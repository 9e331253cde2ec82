"""Decode steps as the plan's runs and moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from runtime.decode import DecodeStart, Feed, Made
from runtime.frame import Frame
from runtime.index_inputs import Cursors
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
        self._as_chunk = jax.jit(lambda tokens: tokens[:, None])
        processor = runner.system.processors[runner.program.logits_device]
        self._as_chunk(processor.place(np.zeros(runner.program.phase.rows, np.int32)))
        self._slots = np.arange(runner.program.phase.rows, dtype=np.int32)

    def run(self, start: DecodeStart, feed: Feed, made: Made) -> float:
        """Runs all steps of all micro-batches; see :meth:`Decode.run`."""
        streams = [_TokenStream(self, number, start, feed, made) for number in range(len(start.tokens))]
        return self._executor.run(streams, start.begin_s)

    def frame(self, number: int, tokens: jax.Array, lengths: np.ndarray, cursors: Mapping[str, Any]) -> Frame:
        """Returns one step of a micro-batch, tokens in."""
        return self._runner.frame(self._as_chunk(tokens), number, self._slots, lengths, lengths + 1, cursors)

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
        self._decode, self._number, self._feed, self._made = decode, number, feed, made
        self._tokens = start.tokens[number]
        self._lengths = start.lengths[number].copy()
        self._cursors = start.cursors[number]
        self._num_steps = start.num_steps
        self._step = 0
        self._frame: Frame | None = None

    def frames(self, now_s: float) -> Sequence[Frame]:
        """Takes the tokens of the last step, and returns the next one."""
        if self._frame is not None:
            self._tokens = self.runner.sample(self._frame)
            self._cursors = self._decode.advanced(self._frame, self._cursors)
            self._lengths = self._frame.after
            self._frame = None
            self._made(self._step, self._number, self._tokens, now_s)
            self._step += 1
        if self._step == self._num_steps:
            return ()
        tokens = self._feed(self._step, self._number, self._tokens)
        self._frame = self._decode.frame(self._number, tokens, self._lengths, self._cursors)
        return (self._frame,)
