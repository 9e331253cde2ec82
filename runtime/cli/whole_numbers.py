"""Reads lists of whole numbers such as ``1,2,4``."""

from __future__ import annotations

from runtime.cli.one_line_errors import ArgumentError


def whole_numbers(option: str, text: str) -> tuple[int, ...]:
    """Returns the numbers of an option, in the order given.

    Args:
        option: Its name, for the error.
        text: Numbers separated by commas.

    Raises:
        ArgumentError: If it holds anything but different numbers of at least 1.
    """
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise ArgumentError(f"{option} must be whole numbers of at least 1 separated by commas, got {text!r}")
    if len(set(numbers)) < len(numbers):
        raise ArgumentError(f"{option} must name each number once, got {text!r}")
    return numbers
