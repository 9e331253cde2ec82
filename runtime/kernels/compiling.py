"""How kernels are compiled, and what makes them be compiled again."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

# Sums may be reordered (hence vectorised) and contracted; infinities and NaNs keep their meaning.
# A division by zero gives what the processor makes of it: a check before each costs SparF a fifth of its time.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz", "arcp"},
}
_INNER_OPTIONS: dict[str, Any] = _OPTIONS | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def entry_point(function: Callable[..., Any]) -> Any:
    """Compiles on first call, keeping the result on disk where a cache folder can be written.

    The compiler renews what it keeps when the file that holds ``function`` changes, and when a value changes that ``function``
    closes over; it does not look into the files of what ``function`` calls. So an entry point is made by a function of its own
    that takes :data:`SOURCE_DIGEST` and has the entry point close over it.
    """
    try:
        return njit(**_OPTIONS, cache=True)(function)
    except RuntimeError:  # neither the package folder nor the user's cache folder is writable
        return njit(**_OPTIONS)(function)


def inner(function: Callable[..., Any]) -> Any:
    """Compiles what entry points call, together with them.

    It has no form for Python, whose call would end the process; that saves a sixth of compiling. Tests call it from a compiled
    function of theirs.
    """
    return njit(**_INNER_OPTIONS)(function)


def digest_of(folder: Path) -> int:
    """Returns a number that stands for the source of all modules in a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        digest.update(file.name.encode())
        digest.update(file.read_bytes())
    return int.from_bytes(digest.digest()[:7], "little")


SOURCE_DIGEST = digest_of(Path(__file__).parent)
"""Stands for the source of everything that kernels are made of."""
