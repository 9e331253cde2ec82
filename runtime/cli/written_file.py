"""Writes a file that a user asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from runtime.cli.one_line_errors import ArgumentError


def write_to(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file through ``write``.

    Raises:
        ArgumentError: If the path cannot be written, or its suffix names no known format.
    """
    try:
        write(path)
    except OSError as error:
        raise ArgumentError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
