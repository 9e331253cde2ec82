"""How well predictions held over all rows of a benchmark, in a few numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, groupby
from statistics import median

from runtime.bench_row import BenchRow

CLOSE = 0.1
"""Two policies whose speeds differ by less than this share count as equally fast: their order is not asked for."""


@dataclass(frozen=True)
class Summary:
    """Sums up a benchmark.

    Attributes:
        num_rows: Plans that ran.
        median_error: Median, over the rows, of how far measured tokens per second are from the prediction, as a share of it.
        worst_error: The largest of these.
        worst: The row that has it.
        num_orders: Pairs of policies in one cell whose predicted or measured speeds differ by more than ``CLOSE``.
        wrong_orders: Those of which the other one was faster than predicted, as text.
        num_cells: Combinations of batch, prompt and drives that ran under more than one policy.
        fidelity: The least of all rows.
    """

    num_rows: int
    median_error: float
    worst_error: float
    worst: str
    num_orders: int
    wrong_orders: tuple[str, ...]
    num_cells: int
    fidelity: float

    def __str__(self) -> str:
        order = f"{self.num_orders - len(self.wrong_orders)} of {self.num_orders}"
        return "\n".join(
            (
                f"{self.num_rows} plans: measured tokens/s differ from the prediction by {self.median_error:.1%} in the "
                f"median, {self.worst_error:.1%} at worst",
                f"  ({self.worst}); the least fidelity is {self.fidelity:.3f}",
                f"{order} pairs of policies in {self.num_cells} cells that differ by more than {CLOSE:.0%} are in "
                "the predicted order",
                *(f"  not so: {wrong}" for wrong in self.wrong_orders),
            )
        )

    def to_dict(self) -> dict[str, object]:
        """Returns plain data for JSON."""
        return asdict(self)


def summarize(rows: Sequence[BenchRow]) -> Summary:
    """Returns the summary of at least one row; rows of a cell follow one another."""
    worst = max(rows, key=lambda row: abs(row.speed_error))
    cells = [cell for cell in _cells(rows) if len(cell) > 1]
    pairs = [pair for cell in cells for pair in combinations(cell, 2) if _differ(*pair)]
    return Summary(
        num_rows=len(rows),
        median_error=median(abs(row.speed_error) for row in rows),
        worst_error=abs(worst.speed_error),
        worst=f"{worst.policy}, {worst.cell_name}",
        num_orders=len(pairs),
        wrong_orders=tuple(
            f"{one.policy} and {other.policy}, {one.cell_name}"
            for one, other in pairs
            if not _ordered_as_predicted(one, other)
        ),
        num_cells=len(cells),
        fidelity=min(row.fidelity for row in rows),
    )


def _cells(rows: Iterable[BenchRow]) -> list[list[BenchRow]]:
    return [list(group) for _, group in groupby(rows, key=lambda row: row.cell)]


def _differ(one: BenchRow, other: BenchRow) -> bool:
    """Tells whether two speeds are far enough apart, predicted or measured, for their order to mean something."""
    return any(
        max(pair) > (1.0 + CLOSE) * min(pair)
        for pair in (
            (one.predicted_tokens_per_s, other.predicted_tokens_per_s),
            (one.tokens_per_s, other.tokens_per_s),
        )
    )


def _ordered_as_predicted(one: BenchRow, other: BenchRow) -> bool:
    predicted = one.predicted_tokens_per_s - other.predicted_tokens_per_s
    return predicted * (one.tokens_per_s - other.tokens_per_s) > 0
