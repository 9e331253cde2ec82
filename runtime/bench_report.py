"""What a benchmark found, as a value that prints, plots and turns into JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from runtime.bench_machine import Machine
from runtime.bench_row import BenchRow
from runtime.bench_summary import Summary, summarize


@dataclass(frozen=True)
class Ratio:
    """Compares a row with the baseline of its cell.

    Attributes:
        predicted: Predicted tokens per second over those of the baseline.
        measured: Measured ones over those of the baseline.
        same_tokens: Whether both generated the same tokens.
    """

    predicted: float
    measured: float
    same_tokens: bool


@dataclass(frozen=True)
class BenchReport:
    """Holds the rows of a benchmark and everything they depend on.

    Attributes:
        model: Name of the model.
        hardware: Name of the hardware description.
        clock: ``wall`` (time measured) or ``virtual`` (time emulated).
        prompt_len: Tokens of the longest prompt.
        max_new_tokens: New tokens per sequence.
        repeats: Runs per row.
        baseline: Policy that the others are held against.
        machine: Where it ran.
        rows: By number of drives, prompt length and batch size, then in the order of the plans.
    """

    model: str
    hardware: str
    clock: str
    prompt_len: int
    max_new_tokens: int
    repeats: int
    baseline: str
    machine: Machine
    rows: tuple[BenchRow, ...]

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        """Returns the batch sizes, in order."""
        return tuple(sorted({row.batch_size for row in self.rows}))

    @property
    def summary(self) -> Summary:
        """Returns how well the predictions held."""
        return summarize(self.rows)

    def ratio(self, row: BenchRow) -> Ratio | None:
        """Returns how a row compares with the baseline of its cell; None if that was not run."""
        for other in self.rows:
            if other.policy == self.baseline and other.cell == row.cell:
                return Ratio(
                    predicted=row.predicted_tokens_per_s / other.predicted_tokens_per_s,
                    measured=row.tokens_per_s / other.tokens_per_s,
                    same_tokens=row.tokens == other.tokens,
                )
        return None

    def table(self) -> str:
        """Returns the results as text of at most 100 columns."""
        from runtime.bench_table import bench_table

        return bench_table(self)

    def plot(self, path: str | Path) -> None:
        """Writes a figure of predicted and measured speed; the suffix of the path gives the format."""
        from runtime.bench_plot import plot_report

        plot_report(self, Path(path))

    def save(self, path: str | Path) -> None:
        """Writes the results as JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=2), encoding="utf-8")

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        return {
            "model": self.model,
            "hardware": self.hardware,
            "clock": self.clock,
            "prompt_len": self.prompt_len,
            "max_new_tokens": self.max_new_tokens,
            "repeats": self.repeats,
            "baseline": self.baseline,
            "machine": self.machine.to_dict(),
            "summary": self.summary.to_dict(),
            "rows": [self._row_dict(row) for row in self.rows],
        }

    def _row_dict(self, row: BenchRow) -> dict[str, object]:
        """Returns a row's data with its ratio to the baseline."""
        ratio = self.ratio(row)
        compared: dict[str, object] = {"ratio": None}
        if ratio is not None:
            compared["ratio"] = {
                "predicted": ratio.predicted,
                "measured": ratio.measured,
                "same_tokens": ratio.same_tokens,
            }
        return row.to_dict() | compared

    def __str__(self) -> str:
        return self.table()
