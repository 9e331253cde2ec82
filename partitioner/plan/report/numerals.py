"""Numbers as people read them: three significant digits or whole, SI prefixes, no exponents."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_LEAST = 0.0005
"""Smaller numbers are not written out in tables."""

_THREE_DECIMALS = 0.0995
"""Smaller numbers lose digits in tables, so that columns stay narrow."""

_SMALL = 0.01
"""A column's unit is a finer one where it would hold smaller numbers."""


@dataclass(frozen=True)
class Unit:
    """Names a unit and says how much of the SI unit one is.

    Attributes:
        name: What a header shows.
        scale: SI units (seconds, bytes) in one.
    """

    name: str
    scale: float

    def of(self, value: float) -> str:
        """Returns a value, given in SI units, as a number of this unit for a table's cell, with up to three decimals."""
        scaled = value / self.scale
        if 0 < scaled < _LEAST:
            return "<0.001"
        return f"{scaled:.3f}" if 0 < scaled < _THREE_DECIMALS else significant(scaled)


_TIMES = (Unit("s", 1.0), Unit("ms", 1e-3), Unit("us", 1e-6), Unit("ns", 1e-9))
_SIZES = (Unit("GB", 1e9), Unit("MB", 1e6), Unit("kB", 1e3), Unit("B", 1.0))


def significant(value: float, digits: int = 3) -> str:
    """Returns a number with so many significant digits and without an exponent: ``0.00123``, ``7.20``, ``741``.

    Larger numbers are whole: ``7412``.
    """
    if value == 0:
        return "0"
    if abs(value) >= 10**digits - 0.5:
        return f"{value:.0f}"
    rounded = float(f"{value:.{digits - 1}e}")
    exponent = math.floor(math.log10(abs(rounded)))
    return f"{rounded:.{max(0, digits - 1 - exponent)}f}"


def duration(seconds: float, digits: int = 3) -> str:
    """Returns seconds with the unit that suits them: ``7.26 s``, ``40.8 ms``."""
    return _with_unit(seconds, _TIMES, digits)


def size(num_bytes: float) -> str:
    """Returns bytes with the unit that suits them: ``107 GB``."""
    return _with_unit(num_bytes, _SIZES, 3)


def time_unit(seconds: Iterable[float]) -> Unit:
    """Returns the unit for a column of times.

    The largest has one to three digits before its point, or four where the smallest would otherwise be below 0.01.
    """
    return _column_unit(seconds, _TIMES)


def size_unit(num_bytes: Iterable[float]) -> Unit:
    """Returns the unit for a column of sizes, by the same rule."""
    return _column_unit(num_bytes, _SIZES)


def percent(share: float) -> str:
    """Returns a share of one in percent, without the sign: ``99``, ``0.6``, ``<0.1``."""
    value = 100 * share
    if 0 < abs(value) < 0.05:
        return "<0.1"
    return f"{value:.0f}" if abs(value) >= 9.95 or value == 0 else f"{value:.1f}"


def counted(number: int, noun: str) -> str:
    """Returns a number and a noun, in the plural unless there is one: ``1 row``, ``4 rows``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _with_unit(value: float, units: tuple[Unit, ...], digits: int) -> str:
    if value == 0:
        return f"0 {units[0].name}"
    unit = next((u for u in units if abs(value) >= 0.9995 * u.scale), units[-1])
    return f"{significant(value / unit.scale, digits)} {unit.name}"


def _column_unit(values: Iterable[float], units: tuple[Unit, ...]) -> Unit:
    sizes = [abs(v) for v in values if v]
    if not sizes:
        return units[0]
    chosen = next((i for i, u in enumerate(units) if max(sizes) >= 0.9995 * u.scale), len(units) - 1)
    finer = units[min(chosen + 1, len(units) - 1)]
    small = min(sizes) < _SMALL * units[chosen].scale
    return finer if small and max(sizes) <= 9999 * finer.scale else units[chosen]
