"""Reads the prompts that a user gave."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from runtime.cli.one_line_errors import ArgumentError


def read_prompts(prompts: Sequence[str] | None, file: Path | None) -> list[str]:
    """Returns the prompts of the options and then of the file.

    Raises:
        ArgumentError: If there is none, one is empty, or the file cannot be read.
    """
    found = [*(prompts or ()), *(_in_file(file) if file else ())]
    if not found:
        raise ArgumentError(
            "no prompt was given; use --prompt TEXT (repeat it for a batch) or --prompt-file FILE"
        )
    if not all(found):
        raise ArgumentError("a prompt is empty; each needs at least one character")
    return found


def _in_file(file: Path) -> list[str]:
    """Returns the list of strings in a JSON file, or the text of any other as one prompt."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"prompt file {str(file)!r} cannot be read as text: {error}") from None
    if file.suffix != ".json":
        return [text]
    try:
        prompts = json.loads(text)
    except json.JSONDecodeError as error:
        raise ArgumentError(f"prompt file {str(file)!r} is not well-formed JSON: {error}") from None
    if not isinstance(prompts, list) or not all(isinstance(prompt, str) for prompt in prompts):
        raise ArgumentError(f"prompt file {str(file)!r} must hold a JSON list of strings")
    return prompts
