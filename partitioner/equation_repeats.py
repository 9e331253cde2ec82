"""Finds what repeats in a list of equations: layers, each of which does to its values what the one before did to its own."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.value_numbers import ValueNumbers

Ints = NDArray[np.int64]

_CANDIDATES = 8
"""So many distances between equations of one form are tried, the most frequent first."""
_INPUT, _FIXED, _INSIDE = 0, 1, 2
"""What an operand is: an input of the phase, made before all repetitions, or made within them."""


@dataclass(frozen=True)
class Repeats:
    """Says that equation ``i + period`` does what equation ``i`` does, for ``first <= i < end - period``.

    That is: they have the same form and are of the same kind, and each operand of the one and its counterpart are inputs of the
    same kind, in a one-to-one relation; or the very same value, made before ``first``; or made by such a pair of equations.

    Attributes:
        first: See above.
        period: Likewise; 0 where nothing repeats.
        end: Likewise.
    """

    first: int
    period: int
    end: int

    def turn(self, position: int) -> tuple[int, int] | None:
        """Returns the equation of the first period that one repeats, and how many periods are between; None outside."""
        if not self.period or not self.first <= position < self.end:
            return None
        turn, offset = divmod(position - self.first, self.period)
        return self.first + offset, turn


NOTHING = Repeats(0, 0, 0)
"""Nothing repeats."""


def equation_repeats(
    numbers: ValueNumbers,
    kinds: Sequence[int],
    inputs: Sequence[Hashable],
    wired: Sequence[int],
) -> Repeats:
    """Returns what repeats.

    Args:
        numbers: The values of a phase, numbered.
        kinds: The kind of each, a small number.
        inputs: The kinds of the phase's inputs.
        wired: Form and operands of each equation, as numbers (see ``EquationForms``); those of inputs come first.
    """
    size = len(kinds)
    if not size:
        return NOTHING
    row = np.array(wired, np.int64)
    num_read = np.fromiter(map(len, numbers.reads), np.int64, size)
    made = np.array(numbers.first, np.int64)
    num_made, made = np.diff(made), made[:-1]
    begin = np.cumsum(1 + num_read) - 1 - num_read
    forms, operands = row[begin] * (1 + max(kinds)) + np.array(kinds), np.delete(row, begin)
    first, period, end = _longest(forms)
    if not period:
        return NOTHING
    start = (
        first + 2 * period
    )  # what the second period reads of the first is not yet what the third reads of the second
    reader = np.repeat(np.arange(size), num_read)
    maker = np.concatenate([np.full(len(inputs), -1), np.repeat(np.arange(size), num_made)])
    is_input, inside = operands < len(inputs), maker[operands] >= first + period
    tag = np.where(is_input, _INPUT, np.where(inside, _INSIDE, _FIXED))
    value = np.where(inside, operands - made[reader], operands)
    known: dict[Hashable, int] = {}
    given = np.array([known.setdefault(kind, len(known)) for kind in inputs], np.int64)
    value[is_input] = given[operands[is_input]]
    offset = np.concatenate([[0], np.cumsum(num_read)])
    before = np.arange(offset[start], offset[end - period])
    behind = np.arange(offset[start + period], offset[end])
    differ = np.flatnonzero((tag[before] != tag[behind]) | (value[before] != value[behind]))
    if len(differ):
        end = int(reader[before[differ[0]]]) + period
        before, behind = before[: differ[0]], behind[: differ[0]]
    pairs = operands[np.stack([before, behind])[:, is_input[before]]]
    if end - period <= start or not _one_to_one(*pairs, size=len(inputs)):
        return NOTHING
    return Repeats(start, period, end)


def _longest(forms: Ints) -> tuple[int, int, int]:
    """Returns (first, period, end) of the longest stretch whose forms repeat at least three times; zeros for none."""
    order = np.argsort(forms, kind="stable")
    same = np.flatnonzero(forms[order[1:]] == forms[order[:-1]])
    distances = np.bincount((order[1:] - order[:-1])[same], minlength=1)
    best = (0, 0, 0)
    for period in np.argsort(-distances, kind="stable")[:_CANDIDATES].tolist():
        if not period or not distances[period]:
            continue
        edges = np.flatnonzero(np.concatenate([[True], forms[period:] != forms[:-period], [True]]))
        longest = int(np.argmax(np.diff(edges)))
        first, end = int(edges[longest]), int(edges[longest + 1]) - 1 + period
        if end - first > max(3 * period, best[2] - best[0]):
            best = (first, period, end)
    return best


def _one_to_one(first: Ints, second: Ints, size: int) -> bool:
    """Tells whether equal numbers stand beside equal numbers, both ways."""
    onward, back = np.full(size, -1), np.full(size, -1)
    onward[first], back[second] = second, first
    return bool((onward[first] == second).all() and (back[second] == first).all())
