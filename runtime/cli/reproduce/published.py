"""Figures that InstInfer (arXiv 2409.04992) publishes of its evaluation, on OPT-13B and one drive unless said.

Each has a bar: how far a prediction may be from it, relative, in percentage points, or not at all where it is a statement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["relative", "points", "statement"]


@dataclass(frozen=True)
class Published:
    """One published figure.

    Attributes:
        id: Its number here.
        what: What it says.
        unit: Of its values.
        values: One or more.
        kind: How a prediction is held against it.
        bar: Largest error, 0.2 for 20 % or 5 for 5 percentage points.
    """

    id: str
    what: str
    unit: str
    values: tuple[float, ...] | bool
    kind: Kind
    bar: float = 0.0


PUBLISHED_FIGURES = (
    Published("R1", "InstA / FlexGen at batch 64", "x", (6.85,), "relative", 0.2),
    Published("R2", "InstA-SparF / InstA at batch 256", "x", (2.08,), "relative", 0.2),
    Published("R3", "InstA-SparF / FlexGen, best batch each (256, 32)", "x", (11.1,), "relative", 0.2),
    Published("R4", "InstA / DeepSpeed, best batch each (256, 16)", "x", (1.046,), "relative", 0.2),
    Published("R5", "DeepSpeed, batch 16 / batch 32", "x", (32.6,), "relative", 0.2),
    Published("R6", "InstA-SparF / Recomp at batch 256", "x", (1.713,), "relative", 0.2),
    Published("R7", "2 drives: InstA at 256 / FlexGen at 32", "x", (10.5,), "relative", 0.2),
    Published("R8", "2 drives: InstA-SparF at 256 / FlexGen-SparQ at 32", "x", (3.11,), "relative", 0.2),
    Published("R9", "KV access in decode at batch 64: FlexGen, InstA", "%", (98.9, 80.7), "points", 5.0),
    Published("R10", "KV access at 1/8: FlexGen-SparQ, InstA-SparF", "%", (92.4, 82.3), "points", 5.0),
    Published("R11", "FlexGen out of memory at batch 128, InstA not", "", True, "statement"),
    Published(
        "R12",
        "InstA-SparF, batch 64, a layer: prefill write, decode read, decode write",
        "GB",
        (1.34, 1085.65, 1.93),
        "relative",
        0.05,
    ),
    Published(
        "R13",
        "rates: decode read, prefill write, decode write",
        "GB/s",
        (7.66, 3.78, 2.15),
        "relative",
        0.15,
    ),
    Published("R14", "tokens in the life of 4 drives of 2 TB", "tokens", (3.226e10,), "relative", 0.05),
    Published("R15", "GPUDirect Storage or a second drive: little for FlexGen", "", True, "statement"),
    Published(
        "R16",
        "InstA and InstA-SparF grow up to batch 256, Recomp is best at small ones",
        "",
        True,
        "statement",
    ),
)
"""The figures that InstInfer states in its text and tables; R1 to R10, R12 and R13 are what software is fitted to."""

READ_RETRIES_LOSS = 4.7e-3
"""Most that the worst read-retry statistics (mean 0.003, at most 5 per page read) cost of a decode."""


def published(name: str) -> Published:
    """Returns a published figure by its number, such as ``R9``."""
    return next(figure for figure in PUBLISHED_FIGURES if figure.id == name)


def published_values(name: str) -> tuple[float, ...]:
    """Returns the values of a published figure that is no statement."""
    values = published(name).values
    assert not isinstance(values, bool), name
    return values
