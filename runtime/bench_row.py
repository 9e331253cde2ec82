"""One line of a benchmark: one plan, predicted and measured."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from runtime.bench_spread import spread
from runtime.bench_usage import Usage


@dataclass(frozen=True)
class BenchRow:
    """Holds what one plan promised and what its runs did.

    Attributes:
        policy: The plan's policy.
        batch_size: Sequences generated together.
        prompt_len: Tokens of the longest prompt.
        num_drives: Drives of the system.
        predicted_tokens_per_s: New tokens per second of the whole generation, as planned.
        measured_tokens_per_s: The same of each run, in order.
        predicted_prefill_s: Seconds until the first new token, as planned.
        measured_prefill_s: The same of each run.
        predicted: What the plan expects of each resource.
        measured: What the run of median speed did to each.
        fidelity: Time that the emulated devices asked for over the time they took; 1 is faithful.
        tokens: New tokens of every sequence.
    """

    policy: str
    batch_size: int
    prompt_len: int
    num_drives: int
    predicted_tokens_per_s: float
    measured_tokens_per_s: tuple[float, ...]
    predicted_prefill_s: float
    measured_prefill_s: tuple[float, ...]
    predicted: Usage
    measured: Usage
    fidelity: float
    tokens: tuple[tuple[int, ...], ...]

    @property
    def tokens_per_s(self) -> float:
        """Returns the median of the measured speeds."""
        return median(self.measured_tokens_per_s)

    @property
    def spread(self) -> float:
        """Returns the range of the measured speeds over their median."""
        return spread(self.measured_tokens_per_s)

    @property
    def cell(self) -> tuple[int, int, int]:
        """Returns what rows that can be compared share: drives, prompt length and batch size."""
        return self.num_drives, self.prompt_len, self.batch_size

    @property
    def cell_name(self) -> str:
        """Returns the cell in words."""
        drives = "1 drive" if self.num_drives == 1 else f"{self.num_drives} drives"
        return f"batch {self.batch_size}, {self.prompt_len} tokens, {drives}"

    @property
    def speed_error(self) -> float:
        """Returns how much faster the generation was than predicted, as a share of the prediction."""
        return self.tokens_per_s / self.predicted_tokens_per_s - 1.0

    @property
    def time_error(self) -> float:
        """Returns how much longer the generation took than predicted, as a share of the prediction."""
        return self.predicted_tokens_per_s / self.tokens_per_s - 1.0

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        return {
            "policy": self.policy,
            "batch_size": self.batch_size,
            "prompt_len": self.prompt_len,
            "num_drives": self.num_drives,
            "predicted_tokens_per_s": self.predicted_tokens_per_s,
            "measured_tokens_per_s": list(self.measured_tokens_per_s),
            "median_tokens_per_s": self.tokens_per_s,
            "spread": self.spread,
            "time_error": self.time_error,
            "speed_error": self.speed_error,
            "predicted_prefill_s": self.predicted_prefill_s,
            "measured_prefill_s": list(self.measured_prefill_s),
            "fidelity": self.fidelity,
            "predicted": self.predicted.to_dict(),
            "measured": self.measured.to_dict(),
        }
