"""Numbers as users write them: ``8``, ``1.5e9``, ``32G``, ``64Gi``."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from runtime.cli.one_line_errors import ArgumentError

_SCALES = {
    "": 1.0,
    "k": 1e3,
    "K": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}
_FORM = re.compile(r"([+-]?[\d.]+(?:e[+-]?\d+)?)([A-Za-z]*)")


@dataclass(frozen=True)
class Quantity:
    """A number, and how it was written.

    Attributes:
        text: As given.
        value: In units of one.
    """

    text: str
    value: float

    @property
    def whole(self) -> int | None:
        """Returns the value as a whole number, or None where it is none."""
        return int(self.value) if self.value == int(self.value) else None


def quantity(text: str) -> Quantity:
    """Reads a number with an optional suffix: k, M, G, T are powers of 1000, Ki, Mi, Gi, Ti of 1024.

    Raises:
        ArgumentError: If it is no finite number, or the suffix is unknown.
    """
    found = _FORM.fullmatch(text.strip())
    if found and found.group(2) in _SCALES:
        try:
            value = float(found.group(1)) * _SCALES[found.group(2)]
        except ValueError:
            value = math.nan
        if math.isfinite(value):
            return Quantity(text.strip(), value)
    raise ArgumentError(
        f"{text.strip()!r} is not a number; give one such as 8, 1.5e9, 32G (1000^3) or 64Gi (1024^3)"
    )
