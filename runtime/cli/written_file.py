"""Checks and writes files that a user asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.cli.one_line_errors import ArgumentError

PLOT_FORMATS = (".png", ".svg", ".pdf")


def check_output(path: Path | None, suffixes: Sequence[str] = ()) -> None:
    """Checks, before any work is done, that a file can be written where it is wanted.

    Raises:
        ArgumentError: If its folder does not exist, or its suffix is none of those given.
    """
    if path is None:
        return
    if not path.parent.is_dir():
        raise ArgumentError(f"cannot write {str(path)!r}: there is no folder {str(path.parent)!r}")
    if suffixes and path.suffix not in suffixes:
        raise ArgumentError(f"cannot write {str(path)!r}: the suffix must be one of {', '.join(suffixes)}")


def check_folder(folder: Path) -> None:
    """Checks, before any work is done, that files can be written into a folder.

    Raises:
        ArgumentError: It is a file, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise ArgumentError(
            f"cannot write into --out {str(folder)!r}: {reason}; give a folder that can be written or made"
        ) from None


def write_to(path: Path, write: Callable[[Path], None]) -> None:
    """Writes a file through ``write``.

    Raises:
        ArgumentError: If the path cannot be written.
    """
    try:
        write(path)
    except OSError as error:
        raise ArgumentError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
