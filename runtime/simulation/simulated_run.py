"""What a simulation says of a generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from partitioner.plan.timeline import Timeline


@dataclass(frozen=True)
class SimulatedRun:
    """Holds the simulated time and use of one generation, prompts as long as the workload has them.

    Attributes:
        prefill_s: Seconds until all prompts are processed and their caches are home; 0 where prompts go through decode steps.
        decode_s: Seconds of all decode steps.
        num_tokens: New tokens of all sequences.
        busy_s: Seconds in use, by device (``gpu0``, ``csd1``) and link direction (``csd1.up``).
        num_bytes: Bytes that crossed each link direction, or that each drive read from flash and programmed.
        num_steps: Decode steps that were simulated one by one; the others are interpolated between them.
        context_len: Tokens of each sequence after the step of ``timeline``.
        timeline: What every resource does in one decode step.
    """

    prefill_s: float
    decode_s: float
    num_tokens: int
    busy_s: Mapping[str, float]
    num_bytes: Mapping[str, float]
    num_steps: int
    context_len: int
    timeline: Timeline

    @property
    def total_s(self) -> float:
        """Returns the seconds of the whole generation."""
        return self.prefill_s + self.decode_s

    @property
    def tokens_per_second(self) -> float:
        """Returns new tokens of all sequences per second of the whole generation."""
        return self.num_tokens / self.total_s

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data for JSON, the timeline left aside."""
        return {
            "tokens_per_second": self.tokens_per_second,
            "total_s": self.total_s,
            "prefill_s": self.prefill_s,
            "decode_s": self.decode_s,
            "busy_s": dict(self.busy_s),
            "num_bytes": dict(self.num_bytes),
            "num_steps": self.num_steps,
        }
