"""Checks of single values, shared by the constructors of every specification.

Each takes the field's name and value, and raises `HardwareError` in one form:
``FIELD = GIVEN is not accepted: expected WHAT``.
"""

import math

from cost_models.errors import HardwareError


def reject(field: str, given: object, expected: str) -> HardwareError:
    """Returns the error for a field whose value is not accepted."""
    return HardwareError(f"{field} = {given!r} is not accepted: expected {expected}")


def is_number(value: object) -> bool:
    """Tells whether a value is a real number (a boolean is none)."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def require_positive(field: str, value: float) -> None:
    """Requires a finite number above zero."""
    if not is_number(value) or not math.isfinite(value) or value <= 0:
        raise reject(field, value, "a finite number above 0")


def require_non_negative(field: str, value: float) -> None:
    """Requires a finite number of at least zero."""
    if not is_number(value) or not math.isfinite(value) or value < 0:
        raise reject(field, value, "a finite number of at least 0")


def require_price(field: str, value: float | None) -> None:
    """Requires an optional price: none, or a finite number of at least zero."""
    if value is not None:
        require_non_negative(field, value)


def require_powers(idle_w: float | None, active_w: float | None) -> None:
    """Requires an optional pair of powers: both or neither, the active one no smaller than the idle one."""
    if (idle_w is None) != (active_w is None):
        given, lacking = ("active_w", "idle_w") if idle_w is None else ("idle_w", "active_w")
        raise HardwareError(f"{given} is given without {lacking}; give both or neither")
    if idle_w is not None and active_w is not None:
        require_non_negative("idle_w", idle_w)
        require_non_negative("active_w", active_w)
        if active_w < idle_w:
            raise reject("active_w", active_w, f"at least idle_w, which is {idle_w!r}")


def require_fraction(field: str, value: float) -> None:
    """Requires a number above zero and at most one."""
    if not is_number(value) or not 0 < value <= 1:
        raise reject(field, value, "a number above 0 and at most 1")


def require_probability(field: str, value: float) -> None:
    """Requires a number from zero to one."""
    if not is_number(value) or not 0 <= value <= 1:
        raise reject(field, value, "a number from 0 to 1")


def require_count(field: str, value: int, minimum: int = 1) -> None:
    """Requires a whole number of at least ``minimum``."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise reject(field, value, f"a whole number of at least {minimum}")


def require_name(field: str, value: str) -> None:
    """Requires a text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise reject(field, value, "a text that is not empty")


def require_flag(field: str, value: bool) -> None:
    """Requires true or false."""
    if not isinstance(value, bool):
        raise reject(field, value, "true or false")
