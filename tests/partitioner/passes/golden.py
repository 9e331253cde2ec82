"""Compares printed forms with files; UPDATE_GOLDENS=1 in the environment writes them anew."""

import os
from pathlib import Path

_FOLDER = Path(__file__).parent / "goldens"


def assert_golden(name: str, text: str) -> None:
    """Asserts that a text is what ``goldens/<name>.txt`` holds."""
    file = _FOLDER / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDENS") == "1":
        file.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == file.read_text(encoding="utf-8")
