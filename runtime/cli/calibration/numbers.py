"""Numbers and texts as a hardware file has them."""

from __future__ import annotations

import json


def sourced(key: str, value: float, source: str, digits: int | None = 4) -> str:
    """Returns a line with a number and its source.

    Args:
        key: Its name.
        value: The number; whole ones have all of their digits.
        source: Where it comes from.
        digits: Significant digits; None for all.
    """
    number = (
        repr(value) if isinstance(value, int) or digits is None else f"{value:.{digits}g}" if value else "0.0"
    )
    return f"{key} = {{ value = {number}, source = {quoted(source)} }}"


def quoted(text: str) -> str:
    """Returns a TOML string: JSON's escapes are all among those of TOML."""
    return json.dumps(text, ensure_ascii=False)
