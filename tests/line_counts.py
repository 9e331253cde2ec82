"""Counts the lines that a package executes, which time on a busy machine cannot tell."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any


def line_counts(package: Path, function: Callable[[], Any]) -> Counter[str]:
    """Returns how many lines of each file of a package run in a call; a turn of a loop counts each time."""
    counts: Counter[str] = Counter()
    root = str(package) + "/"

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(root):
            return None
        name = name.removeprefix(root)

        def count(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line":
                counts[name] += 1
            return count

        return count

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return counts
