"""What a plan expects of prompts of known lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from partitioner.plan.plan import Plan
from partitioner.plan.timeline import Timeline
from partitioner.workload import Workload
from runtime.bench_usage import Usage, usage_of


@dataclass(frozen=True)
class Prediction:
    """Holds the predicted time and use of one generation.

    Attributes:
        prefill_s: Seconds until all prompts are processed and their caches are home.
        decode_s: Seconds of all decode steps.
        num_tokens: New tokens of all sequences.
        usage: Seconds and bytes of each resource.
    """

    prefill_s: float
    decode_s: float
    num_tokens: int
    usage: Usage

    @property
    def tokens_per_second(self) -> float:
        """Returns new tokens of all sequences per second of the whole generation."""
        return self.num_tokens / (self.prefill_s + self.decode_s)


def predict_generation(plan: Plan, prompt_lens: Sequence[int], max_new_tokens: int) -> Prediction:
    """Returns what a plan expects of a batch of uneven prompts.

    A plan's own figures are for prompts that are all as long as the longest. What a decode step reads grows
    with the tokens of each row, so here a step takes the mean, over the rows, of what it would take if all
    rows were of that length.

    Args:
        plan: The plan.
        prompt_lens: Tokens of each prompt.
        max_new_tokens: New tokens of each.
    """
    sums = _Sums()
    prefill_s = 0.0
    if plan.prefill is not None:
        prefill = plan.predicted_timeline("prefill", round(sum(prompt_lens) / len(prompt_lens)))
        prefill_s = prefill.end_s
        sums.add(prefill, 1.0)
    num_steps: dict[int, float] = {}
    for prompt_len, num_rows in Counter(prompt_lens).items():
        row = Workload(prompt_len=prompt_len, decode_len=max_new_tokens)
        for context_len, steps in _contexts(row, with_prefill=plan.prefill is not None):
            share = steps * num_rows / len(prompt_lens)
            num_steps[context_len] = num_steps.get(context_len, 0.0) + share
    decode_s = 0.0
    for context_len, steps in num_steps.items():
        step = plan.predicted_timeline("decode", context_len)
        decode_s += step.end_s * steps
        sums.add(step, steps)
    usage = usage_of(sums.busy_s, sums.moved_bytes, sums.decode_bytes)
    return Prediction(prefill_s, decode_s, len(prompt_lens) * max_new_tokens, usage)


def _contexts(row: Workload, *, with_prefill: bool) -> tuple[tuple[int, float], ...]:
    """Returns context lengths and numbers of decode steps; the first token comes from the prefill."""
    if with_prefill and row.decode_len == 1:
        return ()
    return row.decode_contexts(with_prefill=with_prefill)


class _Sums:
    """Adds up timelines."""

    def __init__(self) -> None:
        self.busy_s: dict[str, float] = {}
        self.moved_bytes: dict[str, float] = {}
        self.decode_bytes: dict[str, float] = {}

    def add(self, timeline: Timeline, times: float) -> None:
        """Adds a timeline a number of times."""
        _add(self.busy_s, timeline.busy_s(), times)
        _add(self.moved_bytes, timeline.moved_bytes(), times)
        _add(self.decode_bytes, timeline.moved_bytes("decode"), times)


def _add(total: dict[str, float], part: Mapping[str, float], factor: float) -> None:
    for key, amount in part.items():
        total[key] = total.get(key, 0.0) + factor * amount
