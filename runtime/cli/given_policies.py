"""Finds the policies that a user named."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from partitioner.placement.policies import POLICIES
from runtime.cli.one_line_errors import ArgumentError


def policy_names(given: Sequence[str]) -> list[str]:
    """Returns the names in texts such as ``auto,instinfer``, each once.

    Raises:
        ArgumentError: If there is none, or one is unknown.
    """
    names = list(dict.fromkeys(name.strip() for text in given for name in text.split(",") if name.strip()))
    if not names:
        raise ArgumentError(
            "--policies names no policy; give names separated by commas, such as auto,instinfer"
        )
    for name in names:
        if name not in POLICIES:
            near = difflib.get_close_matches(name, POLICIES, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(POLICIES)}"
            raise ArgumentError(f"unknown policy {name!r}; {hint}")
    return names
