"""What a generation gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partitioner.plan.timeline import Timeline
from runtime.csd import HealthReport
from runtime.recovery import Recovery
from runtime.request import Reason


@dataclass(frozen=True)
class GenerationResult:
    """Holds the new tokens of a generation and how long it took by the session's clock.

    Attributes:
        tokens: New token ids of each prompt, without the prompt; the one that ended a row is its last.
        texts: The same as text, without the token that ended it; None for a model without a tokenizer.
        timeline: What each device and link did when, in seconds since the start of the generation.
        prefill_s: Seconds until every prompt has its first new token and all caches are home.
        decode_s: Seconds after that.
        drive_health: Counters of each drive at the end, by name.
        reasons: Why each row ended: ``length`` or ``eos``.
        recoveries: What was lost on the way, and what it cost to go on.
        fidelity: Seconds that throttled work should take over seconds that it took; 1 where this machine keeps up with
            the hardware it emulates, and on the virtual clock.
    """

    tokens: list[list[int]]
    texts: list[str] | None
    timeline: Timeline
    prefill_s: float
    decode_s: float
    drive_health: Mapping[str, HealthReport]
    fidelity: float
    recoveries: tuple[Recovery, ...] = ()
    reasons: tuple[Reason, ...] = ()

    @property
    def total_s(self) -> float:
        """Returns the seconds of the whole generation."""
        return self.prefill_s + self.decode_s

    @property
    def num_tokens(self) -> int:
        """Returns the new tokens of all prompts."""
        return sum(len(row) for row in self.tokens)

    @property
    def tokens_per_second(self) -> float:
        """Returns new tokens of all prompts per second of the whole generation, prefill included."""
        return self.num_tokens / self.total_s if self.total_s else float("inf")
