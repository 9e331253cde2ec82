"""The grid on which one attention may be split over tiers: whole units along one axis."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from partitioner.shares import Share, even_shares

MAX_UNITS = 48
"""Units of one attention. Layers may be split differently, so a tier's memory is filled to one part in units x layers."""

Split = tuple[tuple[str, int], ...]
"""(tier, units) of every tier that has some; the units add up to those of the grid."""


@dataclass(frozen=True)
class SplitGrid:
    """Cuts batch rows x KV heads into equal units, along the KV heads where there are enough of them, else along the rows.

    Heads come first because all rows then take part everywhere: sequences of different lengths load every tier alike.

    Attributes:
        num_rows: Batch rows.
        num_kv_heads: KV heads.
        along_heads: Whether a unit is some KV heads of all rows, or all KV heads of some rows.
        num_units: Units; a divisor of the axis' length.
    """

    num_rows: int
    num_kv_heads: int
    along_heads: bool
    num_units: int

    @classmethod
    @functools.cache
    def of(cls, num_rows: int, num_kv_heads: int) -> SplitGrid:
        """Returns the finest grid with at most ``MAX_UNITS`` units."""
        heads, rows = (_largest_divisor(n) for n in (num_kv_heads, num_rows))
        along_heads = num_kv_heads >= 32 or heads >= rows
        return cls(num_rows, num_kv_heads, along_heads, heads if along_heads else rows)

    def part(self, first: int, units: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Returns the rows and the KV heads, each (start, stop), of some consecutive units."""
        size = (self.num_kv_heads if self.along_heads else self.num_rows) // self.num_units
        cut = (first * size, (first + units) * size)
        return ((0, self.num_rows), cut) if self.along_heads else (cut, (0, self.num_kv_heads))

    def shares(self, split: Split, members: dict[str, Sequence[str]]) -> tuple[Share, ...]:
        """Returns the shares of a split: tiers one behind the other, each cut evenly over its members."""
        found: list[Share] = []
        first = 0
        for tier, units in split:
            rows, heads = self.part(first, units)
            first += units
            found += _within(rows, heads, tuple(members[tier]), self.num_rows * self.num_kv_heads)
        return tuple(found)


def _within(
    rows: tuple[int, int], heads: tuple[int, int], devices: tuple[str, ...], whole: int
) -> list[Share]:
    """Returns even shares of a part of an attention."""
    return [
        Share(
            s.device,
            (rows[0] + s.rows[0], rows[0] + s.rows[1]),
            (heads[0] + s.kv_heads[0], heads[0] + s.kv_heads[1]),
            s.num_rows * s.num_kv_heads / whole,
        )
        for s in even_shares(devices, rows[1] - rows[0], heads[1] - heads[0])
    ]


def _largest_divisor(length: int) -> int:
    return max(n for n in range(1, min(length, MAX_UNITS) + 1) if length % n == 0)
