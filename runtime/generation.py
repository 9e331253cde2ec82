"""Generates: prompts through the prefill, then one token per row and step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import jax
import numpy as np
from jax import numpy as jnp

from partitioner.plan.plan import Plan
from runtime.errors import SessionError
from runtime.fused_step import FusedStep
from runtime.index_inputs import Cursors
from runtime.program import Program
from runtime.prompts import PromptBatch
from runtime.sampling import check_chosen
from runtime.step_runner import StepRunner
from runtime.stepped_decode import Executor, SteppedDecode
from runtime.system import System

OnToken = Callable[[int, int], None]
Progress = Callable[[str, int, int], None]


class DecodeStep(Protocol):
    """Runs whole decode steps."""

    def begin(self, lengths: np.ndarray, cursors: Mapping[str, Any]) -> None:
        """Starts after ``lengths`` cached tokens per row, with the model's own counters."""
        ...

    def step(self, tokens: jax.Array, ready_s: float) -> tuple[jax.Array, float]:
        """Runs a step: tokens in, next tokens and their time out."""
        ...


@dataclass
class Generated:
    """Collects what a generation makes.

    Attributes:
        steps: int32[batch] per step, still on the device.
        prefill_end_s: When every row had its first new token, by the session's clock.
        end_s: When everything was done.
    """

    steps: list[jax.Array] = field(default_factory=list)
    prefill_end_s: float = 0.0
    end_s: float = 0.0


class Generator:
    """Runs a plan's phases on a system, compiled ahead.

    Args:
        plan: What to run.
        system: What to run it on.
        executor: Orders the steps.
        progress: Told of stages: name, done, total.

    Raises:
        SessionError: The plan's prefill does not fit its batch, or the model's own counters cannot be followed.
    """

    def __init__(self, plan: Plan, system: System, executor: Executor, progress: Progress) -> None:
        self._system = system
        self._executor = executor
        self._progress = progress
        self._rows = plan.workload.batch_size
        cpu = system.processors["host"].device
        decode = Program(plan, plan.decode)
        self._processor = system.processors[decode.logits_device]
        self._decode_counters = Cursors(plan.decode.graph, cpu)
        self._first_counters = self._decode_counters.initial(plan.decode.graph.phase)
        self._prefill: StepRunner | None = None
        if plan.prefill is not None:
            if self._rows % plan.prefill.rows:
                raise SessionError(
                    f"a prefill of {plan.prefill.rows} rows does not divide the batch of {self._rows}; partition again"
                )
            self._prefill = StepRunner(Program(plan, plan.prefill), system)
            self._prefill_counters = Cursors(plan.prefill.graph, cpu)
            self._prefill.compile(lambda done, total: progress("compiling prefill", done, total))
        self._decode: DecodeStep
        if decode.runs_alone():
            fused = FusedStep(decode, system)
            fused.compile(lambda done, total: progress("compiling decode", done, total))
            self._decode = fused
        else:
            runner = StepRunner(decode, system)
            runner.compile(lambda done, total: progress("compiling decode", done, total))
            self._decode = SteppedDecode(runner, executor, self._decode_counters)
        self._feed = jax.jit(jnp.where)
        row = self._processor.place(np.zeros(self._rows, np.int32))
        self._feed(self._processor.place(np.zeros(self._rows, np.bool_)), row, row)

    def generate(
        self, batch: PromptBatch, num_tokens: int, origin_s: float, on_token: OnToken | None
    ) -> Generated:
        """Generates ``num_tokens`` per row, the next token always the likeliest.

        Args:
            batch: The prompts.
            num_tokens: New tokens per row.
            origin_s: When it starts, by the session's clock.
            on_token: Called with row and token as soon as a token is known.

        Raises:
            SessionError: A step failed, or made logits that name no token.
        """
        made = Generated(end_s=origin_s)
        if self._prefill is None:
            return self._feed_prompts(batch, num_tokens, made, on_token)
        tokens, cursors = self._run_prefill(self._prefill, batch, made)
        self._decode.begin(batch.lengths, cursors)
        self._deliver(batch, made, tokens, on_token, num_tokens, 0)
        for step in range(1, num_tokens):
            tokens, made.end_s = self._decode.step(tokens, made.end_s)
            self._deliver(batch, made, tokens, on_token, num_tokens, 0)
            self._progress("decode", step, num_tokens - 1)
        made.end_s = self._processor.wait_for(tokens, made.end_s)
        return made

    def _run_prefill(
        self, runner: StepRunner, batch: PromptBatch, made: Generated
    ) -> tuple[jax.Array, Mapping[str, Any]]:
        phase = runner.program.phase
        self._progress("prefill", 0, 1)
        cursors = self._prefill_counters.initial(phase.graph.phase)
        frames = [
            runner.frame(
                batch.tokens[first : first + phase.rows],
                first,
                np.zeros(phase.rows, np.int32),
                batch.lengths[first : first + phase.rows],
                cursors,
            )
            for first in range(0, self._rows, phase.rows)
        ]
        made.end_s = self._executor.run(runner, frames, made.end_s)
        chosen = [runner.sample(frame) for frame in frames]
        made.end_s = self._system.processors[runner.program.logits_device].wait_for(chosen, made.end_s)
        first_tokens = np.concatenate(jax.device_get(chosen))
        for row in range(batch.num_prompts):
            check_chosen(first_tokens[row : row + 1], row)
        tokens = self._processor.place(first_tokens)
        made.prefill_end_s = made.end_s
        self._progress("prefill", 1, 1)
        advanced = [self._prefill_counters.advanced(frame.told, cursors) for frame in frames]
        return tokens, _joined(advanced, self._first_counters)

    def _feed_prompts(
        self, batch: PromptBatch, num_tokens: int, made: Generated, on_token: OnToken | None
    ) -> Generated:
        """Takes prompts token by token: a row whose prompt is finished goes on with its own tokens."""
        self._decode.begin(np.zeros(self._rows, np.int32), self._first_counters)
        longest = int(batch.lengths[: batch.num_prompts].max())
        total = longest + num_tokens - 1
        tokens = self._processor.place(batch.tokens[:, 0])
        for step in range(total):
            if 0 < step < longest:
                given = self._processor.place((step < batch.lengths, batch.tokens[:, step]))
                tokens = self._feed(*given, tokens)
            tokens, made.end_s = self._decode.step(tokens, made.end_s)
            if step == longest - 1:
                made.end_s = self._processor.wait_for(tokens, made.end_s)
                made.prefill_end_s = made.end_s
            self._deliver(batch, made, tokens, on_token, num_tokens, 1)
            self._progress("decode", step + 1, total)
        made.end_s = self._processor.wait_for(tokens, made.end_s)
        return made

    def _deliver(
        self,
        batch: PromptBatch,
        made: Generated,
        tokens: jax.Array,
        on_token: OnToken | None,
        num_tokens: int,
        prompt_steps: int,
    ) -> None:
        """Keeps a step's tokens, and hands them out where somebody listens."""
        made.steps.append(tokens)
        if on_token is None:
            return
        step = len(made.steps) - 1
        ids = np.asarray(tokens)
        for row in range(batch.num_prompts):
            first = prompt_steps * (int(batch.lengths[row]) - 1)
            if first <= step < first + num_tokens:
                check_chosen(ids[row : row + 1], row, step - first)
                on_token(row, int(ids[row]))


def rows_of(made: Generated, batch: PromptBatch, num_tokens: int, fed: bool) -> list[list[int]]:
    """Returns the new tokens of every prompt.

    Args:
        made: What was generated.
        batch: The prompts.
        num_tokens: New tokens per row.
        fed: Whether prompts were fed token by token, so that a row's first new token comes with its last prompt token.

    Raises:
        SessionError: Logits named no token.
    """
    ids = np.stack(jax.device_get(made.steps))
    firsts = (batch.lengths - 1) * int(fed)
    rows = [ids[firsts[r] : firsts[r] + num_tokens, r] for r in range(batch.num_prompts)]
    for number, row in enumerate(rows):
        check_chosen(row, number)
    return [row.tolist() for row in rows]


def _joined(slices: list[Mapping[str, Any]], like: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns counters for all rows from those of slices of rows; one without rows is that of the last slice."""
    joined: dict[str, Any] = {}
    for name, whole in like.items():
        values = [np.asarray(s[name]) for s in slices]
        joined[name] = values[-1] if values[-1].shape == whole.shape else np.concatenate(values)
    return joined
