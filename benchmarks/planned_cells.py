"""What plans of a grid gave, one line of JSON each, written as soon as it is known so that a run can be taken up again."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

Place = tuple[str, str, int, int]
"""Model, system, batch and context."""


@dataclass(frozen=True)
class Cell:
    """What one plan gave.

    Attributes:
        model: Name.
        system: Name of the preset.
        batch: Sequences.
        context: Tokens.
        policy: Name, or ``auto`` and what there is more of.
        objective_s: The solver's objective; infinite where nothing fits.
        bound_s: Its bound.
        predicted_s: The time that the plan's schedule takes.
        place_s: Processor seconds from the traced model to the plan.
        trace_s: Processor seconds of tracing.
        micro_batches: Of the plan.
        failed: Why there is neither a plan nor a proof that nothing fits; empty where there is one of them.
    """

    model: str
    system: str
    batch: int
    context: int
    policy: str
    objective_s: float = math.inf
    bound_s: float = math.inf
    predicted_s: float = math.inf
    place_s: float = 0.0
    trace_s: float = 0.0
    micro_batches: int = 1
    failed: str = ""

    @property
    def place(self) -> Place:
        """Returns what was planned, where."""
        return self.model, self.system, self.batch, self.context

    @property
    def fits(self) -> bool:
        """Whether there is a plan."""
        return math.isfinite(self.objective_s)

    @property
    def gap(self) -> float:
        """Returns the relative distance of the objective from its bound, 0 where nothing fits."""
        return max(0.0, 1.0 - self.bound_s / self.objective_s) if self.fits else 0.0

    def __str__(self) -> str:
        """Returns what was planned, where."""
        return f"{self.model} on {self.system}, batch {self.batch}, context {self.context}"


def write(file: Path, cells: Iterable[Cell]) -> None:
    """Appends cells to a file in one write, so that processes may share it."""
    text = "".join(json.dumps(dataclasses.asdict(cell)) + "\n" for cell in cells)
    with file.open("ab", buffering=0) as stream:
        stream.write(text.encode())


def read(file: Path) -> list[Cell]:
    """Returns the cells of a file; a line that was cut off is left out."""
    return list(_cells(file)) if file.exists() else []


def _cells(file: Path) -> Iterator[Cell]:
    for line in file.read_text(encoding="utf-8").splitlines():
        try:
            yield Cell(**json.loads(line))
        except json.JSONDecodeError:
            continue


def worse(cells: Sequence[Cell], slack: float) -> list[tuple[Cell, Cell, float]]:
    """Returns where ``auto`` is worse than a policy, or than itself on a system with less, and by how much.

    Both by the solver's objective and by the finished plan's schedule.
    """
    found: list[tuple[Cell, Cell, float]] = []
    by_place: dict[Place, dict[str, Cell]] = {}
    for c in cells:
        by_place.setdefault(c.place, {})[c.policy] = c
    for at_place in by_place.values():
        auto = at_place["auto"]
        for label, other in at_place.items():
            better, less = (other, auto) if label.startswith("auto, more") else (auto, other)
            if label == "auto" or not less.fits:
                continue
            for better_s, less_s in (
                (better.objective_s, less.objective_s),
                (better.predicted_s, less.predicted_s),
            ):
                if not better_s <= less_s * (1.0 + slack):
                    found.append((better, less, better_s / less_s - 1.0))
    return found
