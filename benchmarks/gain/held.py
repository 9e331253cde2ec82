"""A plan that was run: its decode as predicted and as measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from partitioner import Plan
from runtime import GenerationResult
from runtime.bench_spread import spread


@dataclass(frozen=True)
class Held:
    """Holds what a plan promised of its decode steps and what runs of it did.

    Attributes:
        policy: The plan's policy.
        batch_size: Sequences generated together.
        micro_batches: Parts of the batch that decode side by side.
        num_shares: Devices that share the attention of a layer, at most.
        num_tokens: New tokens of all sequences in decode steps; a prefill makes the first of each.
        predicted_s: Seconds of all decode steps.
        measured_s: The same of each run, in order.
        predicted_overlap_s: Seconds in which GPU and drives are in use at once while decoding.
        measured_overlap_s: The same of each run.
        predicted_prefill_s: Seconds of the prefill.
        measured_prefill_s: The same of each run.
        fidelity: Time that the emulated devices asked for over the time they took, of each run.
        tokens: New tokens of every sequence; none where the runs disagree.
    """

    policy: str
    batch_size: int
    micro_batches: int
    num_shares: int
    num_tokens: int
    predicted_s: float
    measured_s: tuple[float, ...]
    predicted_overlap_s: float
    measured_overlap_s: tuple[float, ...]
    predicted_prefill_s: float
    measured_prefill_s: tuple[float, ...]
    fidelity: tuple[float, ...]
    tokens: tuple[tuple[int, ...], ...] | None

    @property
    def predicted_tokens_per_s(self) -> float:
        """Returns predicted new tokens per second of decoding."""
        return self.num_tokens / self.predicted_s

    @property
    def tokens_per_s(self) -> float:
        """Returns the median of the measured speeds."""
        return self.num_tokens / median(self.measured_s)

    @property
    def spread(self) -> float:
        """Returns the range of the measured speeds over their median."""
        return spread([self.num_tokens / seconds for seconds in self.measured_s])

    @property
    def overlap_s(self) -> float:
        """Returns the median of the measured overlaps."""
        return median(self.measured_overlap_s)


def hold(plan: Plan, results: Sequence[GenerationResult]) -> Held:
    """Returns a plan's predictions beside what runs of it did, whose prompts were as long as planned and all tokens made."""
    workload = plan.workload
    made = {tuple(map(tuple, result.tokens)) for result in results}
    return Held(
        policy=plan.policy,
        batch_size=workload.batch_size,
        micro_batches=plan.micro_batches,
        num_shares=max(map(len, plan.caches.values())),
        num_tokens=workload.batch_size * (workload.decode_len - 1),
        predicted_s=plan.total_decode_seconds,
        measured_s=tuple(r.decode_s for r in results),
        predicted_overlap_s=sum(steps * t.overlap_s("gpu", "csd") for t, steps in plan.decode_timelines),
        measured_overlap_s=tuple(r.timeline.overlap_s("gpu", "csd", "decode") for r in results),
        predicted_prefill_s=plan.prefill_seconds,
        measured_prefill_s=tuple(r.prefill_s for r in results),
        fidelity=tuple(r.fidelity for r in results),
        tokens=made.pop() if len(made) == 1 else None,
    )
