"""Aligned tables, titles and wrapped text within the report's width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

WIDTH = 100
"""Columns of a report."""

_INDENT = "  "
_GAP = "  "
_SHORTEST = 12
"""Characters below which a cell of text is not cut."""

Align = Literal["left", "right", "point"]


@dataclass(frozen=True)
class Column:
    """Describes a column.

    Attributes:
        title: Header, its lines separated by newlines; units belong here.
        align: ``point`` puts decimal points below each other.
    """

    title: str
    align: Align = "point"


def title(text: str) -> list[str]:
    """Returns a section's title and the line below it."""
    return [text, "-" * len(text)]


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns an indented table; the widest column of text is cut where it would not fit into the width."""
    headers = [c.title.split("\n") for c in columns]
    height = max(map(len, headers))
    headers = [[""] * (height - len(h)) + h for h in headers]
    bodies = [
        _align_points([row[i] for row in rows]) if c.align == "point" else [row[i] for row in rows]
        for i, c in enumerate(columns)
    ]
    widths = [max(map(len, (*h, *b))) for h, b in zip(headers, bodies, strict=True)]
    bodies = _fit(columns, bodies, widths)
    lines: list[str] = []
    for cells in (*zip(*headers, strict=True), *zip(*bodies, strict=True)):
        padded = [
            cell.ljust(width) if column.align == "left" else cell.rjust(width)
            for cell, width, column in zip(cells, widths, columns, strict=True)
        ]
        lines.append((_INDENT + _GAP.join(padded)).rstrip())
    return lines


def paragraph(text: str, lead: str = _INDENT) -> list[str]:
    """Returns text wrapped to the width; lines after the first are indented as far as ``lead`` reaches."""
    return textwrap.wrap(
        text, WIDTH, initial_indent=lead, subsequent_indent=" " * len(lead), break_on_hyphens=False
    )


def pairs(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Returns labels and their text in two columns, the text wrapped."""
    width = max(len(label) for label, _ in rows)
    return [line for label, text in rows for line in paragraph(text, f"{_INDENT}{label.ljust(width)}{_GAP}")]


def shorten(text: str, width: int) -> str:
    """Returns text cut in its middle to a width."""
    if len(text) <= width:
        return text
    head = (width - 2) // 2
    return f"{text[:head]}..{text[len(text) - (width - 2 - head) :]}"


def _fit(columns: Sequence[Column], bodies: list[list[str]], widths: list[int]) -> list[list[str]]:
    excess = len(_INDENT) + sum(widths) + len(_GAP) * (len(widths) - 1) - WIDTH
    while excess > 0:
        texts = [i for i, c in enumerate(columns) if c.align == "left" and widths[i] > _SHORTEST]
        if not texts:
            break
        widest = max(texts, key=lambda i: widths[i])
        widths[widest] -= 1
        excess -= 1
    return [[shorten(cell, width) for cell in body] for body, width in zip(bodies, widths, strict=True)]


def _align_points(cells: list[str]) -> list[str]:
    """Pads numbers on the right so that their decimal points meet when they are set flush right."""
    tails = [len(cell) - cell.index(".") if "." in cell else 0 for cell in cells]
    longest = max(tails, default=0)
    return [
        cell + " " * (longest - tail) if _is_number(cell) else cell
        for cell, tail in zip(cells, tails, strict=True)
    ]


def _is_number(cell: str) -> bool:
    return cell.lstrip("<+-").replace(".", "", 1).isdigit()
