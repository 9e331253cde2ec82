"""Generates: prompts through the prefill, then one token per row and step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from runtime.decode import DecodeStart
from runtime.micro_batches import MicroBatches
from runtime.phases import Phases, Progress
from runtime.prefill import Prefill
from runtime.prompts import PromptBatch
from runtime.sampling import check_chosen

OnToken = Callable[[int, int], None]


@dataclass
class Generated:
    """Collects what a generation makes.

    Attributes:
        steps: Per micro-batch int32[rows] per step, still on the device.
        prefill_end_s: When every row had its first new token, by the session's clock; None before that.
        end_s: When everything so far was done.
        ends: Per micro-batch when each decode step ended.
    """

    steps: list[list[jax.Array]] = field(default_factory=list)
    prefill_end_s: float | None = None
    end_s: float = 0.0
    ends: list[list[float]] = field(default_factory=list)


class Generator:
    """Generates the likeliest tokens of a batch whose rows begin and end together.

    Args:
        phases: The plan's, compiled.
    """

    def __init__(self, phases: Phases) -> None:
        self._prefill = phases.prefill
        self._phases = phases
        self._progress = phases.progress
        self._micro_batches = phases.micro_batches
        self._processor = phases.processor

    def begin(self, origin_s: float) -> Generated:
        """Returns what a generation that starts at ``origin_s`` has made so far: nothing."""
        count = self._micro_batches.count
        return Generated([[] for _ in range(count)], None, origin_s, [[] for _ in range(count)])

    def generate(
        self, batch: PromptBatch, num_tokens: int, made: Generated, on_token: OnToken | None
    ) -> None:
        """Generates ``num_tokens`` per row, the next token always the likeliest.

        Args:
            batch: The prompts.
            num_tokens: New tokens per row.
            made: Takes the tokens; what is in it when a step fails holds.
            on_token: Called with row and token as soon as a token is known.

        Raises:
            SessionError: A step failed, or made logits that name no token.
        """
        if self._prefill is None:
            self._feed_prompts(batch, num_tokens, made, on_token)
        else:
            self._go_on(self._run_prefill(self._prefill, batch, made), batch, num_tokens, made, on_token)
        made.end_s = self._processor.wait_for([steps[-1] for steps in made.steps], made.end_s)

    def _go_on(
        self,
        begun: tuple[list[jax.Array], list[Mapping[str, Any]]],
        batch: PromptBatch,
        num_tokens: int,
        made: Generated,
        on_token: OnToken | None,
    ) -> None:
        """Runs the decode steps that follow a prefill; tokens that are known take the place of those made."""
        tokens, cursors = begun
        deliver = _Delivery(batch, made, on_token, num_tokens, self._micro_batches, fed=False)
        for number, first in enumerate(tokens):
            deliver(number, first)
        told = _Steps(self._progress, num_tokens - 1)
        known, counts = self._cut(batch.known), self._cut(batch.num_known)

        def feed(step: int, number: int, tokens: jax.Array) -> jax.Array:
            if step >= batch.known.shape[1]:
                return tokens
            given = self._processor.place((step < counts[number], known[number][:, step]))
            return self._phases.feed(*given, tokens)

        def take(step: int, number: int, tokens: jax.Array, end_s: float) -> bool:
            deliver(number, tokens)
            made.ends[number].append(end_s)
            made.end_s = max(made.end_s, end_s)
            told(made)
            return False

        start = DecodeStart(tokens, self._cut(batch.lengths), cursors, num_tokens - 1, made.end_s)
        made.end_s = self._phases.decode.run(start, feed, take)

    def _run_prefill(
        self, prefill: Prefill, batch: PromptBatch, made: Generated
    ) -> tuple[list[jax.Array], list[Mapping[str, Any]]]:
        """Runs all slices, and returns the first new tokens and the counters of every micro-batch."""
        phase = prefill.program.phase
        self._progress("prefill", 0, 1)
        counters = self._phases.prefill_counters
        assert counters is not None
        cursors = counters.initial(phase.graph.phase)
        frames = [
            prefill.frame(
                batch.tokens[first : first + phase.rows],
                first // self._micro_batches.num_rows,
                first % self._micro_batches.num_rows + np.arange(phase.rows, dtype=np.int32),
                batch.lengths[first : first + phase.rows],
                cursors,
            )
            for first in range(0, self._phases.plan.workload.batch_size, phase.rows)
        ]
        made.end_s = prefill.run(frames, made.end_s)
        chosen = [prefill.sample(frame) for frame in frames]
        made.end_s = self._phases.system.processors[prefill.program.logits_device].wait_for(
            chosen, made.end_s
        )
        first_tokens = np.concatenate(jax.device_get(chosen))
        for row in range(batch.num_prompts):
            check_chosen(first_tokens[row : row + 1], row)
        made.prefill_end_s = made.end_s
        self._progress("prefill", 1, 1)
        advanced = [counters.advanced(frame.told, cursors) for frame in frames]
        slices = self._micro_batches.num_rows // phase.rows
        joined = [
            _joined(advanced[first : first + slices], self._phases.first_counters)
            for first in range(0, len(frames), slices)
        ]
        return [self._processor.place(tokens) for tokens in self._cut(first_tokens)], joined

    def _feed_prompts(
        self, batch: PromptBatch, num_tokens: int, made: Generated, on_token: OnToken | None
    ) -> None:
        """Takes prompts token by token: a row whose prompt is finished goes on with its own tokens."""
        longest = int(batch.lengths[: batch.num_prompts].max())
        total = longest + num_tokens - 1
        lengths, prompts = self._cut(batch.lengths), self._cut(batch.tokens)
        deliver = _Delivery(batch, made, on_token, num_tokens, self._micro_batches, fed=True)
        told = _Steps(self._progress, total)

        def feed(step: int, number: int, tokens: jax.Array) -> jax.Array:
            if not 0 < step < longest:
                return tokens
            given = self._processor.place((step < lengths[number], prompts[number][:, step]))
            return self._phases.feed(*given, tokens)

        def take(step: int, number: int, tokens: jax.Array, end_s: float) -> bool:
            if step == longest - 1:
                made.prefill_end_s = max(made.prefill_end_s or 0.0, self._processor.wait_for(tokens, end_s))
            deliver(number, tokens)
            made.ends[number].append(end_s)
            made.end_s = max(made.end_s, end_s)
            told(made)
            return False

        start = DecodeStart(
            [self._processor.place(p[:, 0]) for p in prompts],
            [np.zeros_like(n) for n in lengths],
            [self._phases.first_counters] * self._micro_batches.count,
            total,
            made.end_s,
        )
        made.end_s = self._phases.decode.run(start, feed, take)

    def _cut(self, rows: np.ndarray) -> list[np.ndarray]:
        """Returns the rows of every micro-batch."""
        return [rows[self._micro_batches.rows(number)] for number in range(self._micro_batches.count)]


class _Steps:
    """Tells of progress: the steps that all micro-batches have done."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, made: Generated) -> None:
        self._done += 1
        done, rest = divmod(self._done, len(made.steps))
        if not rest:
            self._progress("decode", done, self._total)


class _Delivery:
    """Keeps the tokens of every step, and hands them out where somebody listens.

    Args:
        batch: The prompts.
        made: Where tokens are kept.
        on_token: Who listens.
        num_tokens: New tokens per row.
        micro_batches: How the batch is cut.
        fed: Whether prompts are fed token by token, so that a row's first new token comes with its last prompt token.
    """

    def __init__(
        self,
        batch: PromptBatch,
        made: Generated,
        on_token: OnToken | None,
        num_tokens: int,
        micro_batches: MicroBatches,
        *,
        fed: bool,
    ) -> None:
        self._batch, self._made, self._on_token, self._num_tokens = batch, made, on_token, num_tokens
        self._micro_batches, self._fed = micro_batches, fed

    def __call__(self, number: int, tokens: jax.Array) -> None:
        """Takes the tokens of a micro-batch's next step."""
        steps = self._made.steps[number]
        steps.append(tokens)
        if self._on_token is None:
            return
        ids = np.asarray(tokens)
        rows = self._micro_batches.rows(number)
        for row in range(rows.start, min(rows.stop, self._batch.num_prompts)):
            new = len(steps) - 1 - (int(self._batch.lengths[row]) - 1) * self._fed
            if 0 <= new < self._num_tokens:
                token = ids[row - rows.start : row - rows.start + 1]
                check_chosen(token, row, new)
                self._on_token(row, int(token[0]))


def rows_of(
    made: Generated, batch: PromptBatch, num_tokens: int, micro_batches: MicroBatches, *, fed: bool
) -> list[list[int]]:
    """Returns the new tokens of every prompt, as far as they are made.

    Args:
        made: What was generated.
        batch: The prompts.
        num_tokens: New tokens per row.
        micro_batches: How the batch is cut.
        fed: Whether prompts were fed token by token, so that a row's first new token comes with its last prompt token.

    Raises:
        SessionError: Logits named no token.
    """
    found: list[list[int]] = []
    for number, steps in enumerate(made.steps):
        ids = np.stack(jax.device_get(steps)) if steps else np.zeros((0, micro_batches.num_rows), np.int32)
        rows = micro_batches.rows(number)
        for row in range(rows.start, min(rows.stop, batch.num_prompts)):
            first = (int(batch.lengths[row]) - 1) * int(fed)
            new = ids[first : first + num_tokens, row - rows.start]
            check_chosen(new, row)
            found.append(new.tolist())
    return found


def _joined(slices: list[Mapping[str, Any]], like: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns counters for all rows from those of slices of rows; one without rows is that of the last slice."""
    joined: dict[str, Any] = {}
    for name, whole in like.items():
        values = [np.asarray(s[name]) for s in slices]
        joined[name] = values[-1] if values[-1].shape == whole.shape else np.concatenate(values)
    return joined
