"""A plan's steps on the real device, next to what the plan predicts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cost_models import HardwareSpec
from models import Transformer
from partitioner import Workload, partition
from runtime import Session


@dataclass(frozen=True)
class PolicyRun:
    """Holds what several generations of one plan took, after one that does not count.

    Attributes:
        steps_s: Mean seconds of a decode step, for each generation.
        prefills_s: Seconds of each prefill.
        predicted_s: Of a step at the middle context.
        predicted_prefill_s: Of a prefill.
        busy_s: Seconds in a step in which each resource is in use, in the last generation.
        tokens: Of the first generation, by row.
    """

    steps_s: tuple[float, ...]
    prefills_s: tuple[float, ...]
    predicted_s: float
    predicted_prefill_s: float
    busy_s: Mapping[str, float]
    tokens: Sequence[Sequence[int]]

    @property
    def step_s(self) -> float:
        """Returns the median of the steps."""
        return statistics.median(self.steps_s)

    @property
    def ratio(self) -> float:
        """Returns measured over predicted seconds of a step."""
        return self.step_s / self.predicted_s

    def equal_rows(self, expected: Sequence[Sequence[int]]) -> int:
        """Returns how many rows have the expected tokens."""
        return sum(list(a) == list(b) for a, b in zip(expected, self.tokens, strict=True))


def run_policy(
    model: Transformer,
    hw: HardwareSpec,
    workload: Workload,
    policy: str,
    prompts: Sequence[Sequence[int]],
    repeats: int,
) -> PolicyRun:
    """Plans and runs on the wall clock."""
    plan = partition(model, hw, workload, policy)
    num_steps = workload.decode_len - 1
    with Session(plan, model, clock="wall") as session:
        tokens = session.generate(prompts, max_new_tokens=workload.decode_len).tokens
        results = [session.generate(prompts, max_new_tokens=workload.decode_len) for _ in range(repeats)]
    busy = results[-1].timeline.busy_s("decode")
    return PolicyRun(
        steps_s=tuple(result.decode_s / num_steps for result in results),
        prefills_s=tuple(result.prefill_s for result in results),
        predicted_s=plan.decode_seconds(plan.middle_context),
        predicted_prefill_s=plan.prefill_seconds,
        busy_s={name: seconds / num_steps for name, seconds in sorted(busy.items()) if "." not in name},
        tokens=tokens,
    )
