"""The published figures R1 to R16, predicted, and how far off they are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from runtime.cli.reproduce.cell import (
    BATCHES,
    DEEPSPEED,
    FLEXGEN,
    FLEXGEN_GDS,
    FLEXGEN_SPARQ,
    INSTA,
    INSTA_SPARF,
    PUBLISHED,
    RECOMP,
    Cell,
    System,
)
from runtime.cli.reproduce.io_rates import layer_rates, layer_volumes
from runtime.cli.reproduce.prediction import Prediction
from runtime.cli.reproduce.published import PUBLISHED_FIGURES, Published

Find = Callable[[Cell], Prediction | str]
"""Gives what is predicted of a point, or why nothing fits."""

_NEGLIGIBLE = 1.05
"""Gain up to which one is called negligible."""
_OUT_OF_MEMORY = 128
"""Batch at which FlexGen is published to run out of memory (R11)."""
_SMALL = (4, 8)
"""Small batches."""


@dataclass(frozen=True)
class Result:
    """Holds a published figure and its prediction.

    Attributes:
        figure: What is published.
        ours: As many values, or whether the statement holds; a value is None where nothing fits.
    """

    figure: Published
    ours: tuple[float | None, ...] | bool

    @property
    def errors(self) -> tuple[float, ...]:
        """Returns the error of each value, relative or in points; infinite where nothing fits, or the statement is false."""
        if isinstance(self.ours, bool) or isinstance(self.figure.values, bool):
            return (0.0 if self.ours == self.figure.values else float("inf"),)
        pairs = zip(self.ours, self.figure.values, strict=True)
        return tuple(float("inf") if ours is None else self._error(ours, paper) for ours, paper in pairs)

    @property
    def holds(self) -> bool:
        """Tells whether every value is within the figure's bar."""
        return all(abs(error) <= self.figure.bar for error in self.errors)

    def to_dict(self) -> dict[str, Any]:
        """Returns plain data; a figure of one value is that value, of several a list."""
        figure = self.figure
        return {
            "id": figure.id,
            "what": figure.what,
            "unit": figure.unit,
            "paper": _single(figure.values),
            "ours": _single(self.ours),
            "error": _single(self.errors),
            "error_kind": figure.kind,
            "bar": figure.bar,
            "holds": self.holds,
        }

    def _error(self, ours: float, paper: float) -> float:
        return ours - paper if self.figure.kind == "points" else ours / paper - 1


def rate_of(find: Find, cell: Cell) -> float | None:
    """Returns the new tokens per second of a point; None where nothing fits."""
    found = find(cell)
    return None if isinstance(found, str) else found.tokens_per_s


def ratios(find: Find) -> dict[str, tuple[float | None, ...]]:
    """Returns the predictions that software is fitted to: R1 to R10, R12 and R13."""

    def rate(system: System, batch: int, drives: int = 1) -> float | None:
        return rate_of(find, Cell(system, batch, drives))

    def kv_percent(system: System) -> float | None:
        found = find(Cell(system, 64))
        return None if isinstance(found, str) else 100 * found.kv_share

    cell = Cell(INSTA_SPARF, 64)
    sparse = find(cell)
    io: dict[str, tuple[float | None, ...]] = {"R12": (None,) * 3, "R13": (None,) * 3}
    if not isinstance(sparse, str):
        volumes = layer_volumes(sparse, cell.workload)
        rates = layer_rates(sparse, volumes)
        moved = (volumes.prefill_write, volumes.decode_read, volumes.decode_write)
        speeds = (rates.decode_read, rates.prefill_write, rates.decode_write)
        io = {"R12": tuple(v / 1e9 for v in moved), "R13": tuple(v / 1e9 for v in speeds)}
    return {
        "R1": (_over(rate(INSTA, 64), rate(FLEXGEN, 64)),),
        "R2": (_over(rate(INSTA_SPARF, 256), rate(INSTA, 256)),),
        "R3": (_over(rate(INSTA_SPARF, 256), rate(FLEXGEN, 32)),),
        "R4": (_over(rate(INSTA, 256), rate(DEEPSPEED, 16)),),
        "R5": (_over(rate(DEEPSPEED, 16), rate(DEEPSPEED, 32)),),
        "R6": (_over(rate(INSTA_SPARF, 256), rate(RECOMP, 256)),),
        "R7": (_over(rate(INSTA, 256, 2), rate(FLEXGEN, 32, 2)),),
        "R8": (_over(rate(INSTA_SPARF, 256, 2), rate(FLEXGEN_SPARQ, 32, 2)),),
        "R9": (kv_percent(FLEXGEN), kv_percent(INSTA)),
        "R10": (kv_percent(FLEXGEN_SPARQ), kv_percent(INSTA_SPARF)),
        **io,
    }


def result_cells() -> tuple[Cell, ...]:
    """Returns the points that R1 to R16 need."""
    small = [Cell(system, batch) for system in PUBLISHED for batch in _SMALL]
    grown = [Cell(system, batch) for system in (INSTA, INSTA_SPARF) for batch in BATCHES]
    stored = [Cell(FLEXGEN, batch) for batch in BATCHES]
    fitting = [cell for cell in stored if cell.batch < _OUT_OF_MEMORY]
    direct = [replace(cell, system=FLEXGEN_GDS) for cell in fitting]
    doubled = [replace(cell, drives=2) for cell in fitting]
    others = (
        Cell(DEEPSPEED, 16),
        Cell(DEEPSPEED, 32),
        Cell(RECOMP, 256),
        Cell(FLEXGEN_SPARQ, 64),
        Cell(FLEXGEN_SPARQ, 32, 2),
        Cell(INSTA, 256, 2),
        Cell(INSTA_SPARF, 256, 2),
        Cell(INSTA, 64, 4),
    )
    return (*small, *grown, *stored, *direct, *doubled, *others)


def results(find: Find) -> tuple[Result, ...]:
    """Returns every published figure with its prediction."""
    four = find(Cell(INSTA, 64, 4))
    ours: dict[str, tuple[float | None, ...] | bool] = {
        **ratios(find),
        "R11": isinstance(find(Cell(FLEXGEN, _OUT_OF_MEMORY)), str)
        and not isinstance(find(Cell(INSTA, _OUT_OF_MEMORY)), str),
        "R14": (None if isinstance(four, str) else four.lifetime_tokens,),
        "R15": _little_gain(find),
        "R16": _growth(find),
    }
    return tuple(Result(figure, ours[figure.id]) for figure in PUBLISHED_FIGURES)


def mean_error(found: tuple[Result, ...]) -> float:
    """Returns the mean absolute relative error of R1 to R8."""
    errors = [abs(e) for r in found if r.figure.id in {f"R{n}" for n in range(1, 9)} for e in r.errors]
    return sum(errors) / len(errors)


def _little_gain(find: Find) -> bool:
    """Tells whether neither direct storage nor a second drive speeds FlexGen up."""
    fitting = [cell for b in BATCHES if _rate(find, cell := Cell(FLEXGEN, b))]
    others = [(cell, replace(cell, system=FLEXGEN_GDS)) for cell in fitting]
    others += [(cell, replace(cell, drives=2)) for cell in fitting]
    return bool(fitting) and all(_rate(find, b) <= _NEGLIGIBLE * _rate(find, a) for a, b in others)


def _growth(find: Find) -> bool:
    """Tells whether both InstA systems grow with the batch, and Recomp is the fastest at small ones."""
    for system in (INSTA, INSTA_SPARF):
        grown = [_rate(find, Cell(system, batch)) for batch in BATCHES]
        if not all(a < b for a, b in itertools.pairwise(grown)):
            return False
    return all(
        max(PUBLISHED, key=lambda system: _rate(find, Cell(system, batch))) == RECOMP for batch in _SMALL
    )


def _rate(find: Find, cell: Cell) -> float:
    return rate_of(find, cell) or 0.0


def _over(top: float | None, bottom: float | None) -> float | None:
    return None if top is None or bottom is None else top / bottom


def _single(values: Any) -> Any:
    if not isinstance(values, tuple):
        return values
    finite = [None if v is None or not math.isfinite(v) else v for v in values]
    return finite[0] if len(finite) == 1 else finite
