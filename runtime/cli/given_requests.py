"""Reads requests from a file of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runtime import Request, Sampling
from runtime.cli.one_line_errors import ArgumentError
from runtime.errors import SessionError

_SAMPLING = ("temperature", "top_k", "top_p", "seed")
_KNOWN = ("prompt", "max_new_tokens", *_SAMPLING, "eos")


def read_requests(file: Path, max_new_tokens: int, sampling: Sampling) -> list[Request]:
    """Returns the requests of a file: a JSON object a line, with ``prompt`` and, where they differ, numbers of its own.

    Args:
        file: The file; empty lines are passed over.
        max_new_tokens: For those that say nothing else.
        sampling: Likewise.

    Raises:
        ArgumentError: The file cannot be read, or a line is no request; names the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")  # JSON has other line separators within texts
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentError(f"request file {str(file)!r} cannot be read as text: {error}") from None
    found = [
        _request(line, f"{file.name}, line {number}", max_new_tokens, sampling)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not found:
        raise ArgumentError(
            f'request file {str(file)!r} holds no request; give a line such as {{"prompt": "Once"}} for each'
        )
    return found


def _request(line: str, where: str, max_new_tokens: int, sampling: Sampling) -> Request:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise ArgumentError(f"{where}: not well-formed JSON: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("prompt"), str) or not data["prompt"]:
        raise ArgumentError(f"{where}: a request is a JSON object with a 'prompt' of at least one character")
    unknown = sorted(set(data) - set(_KNOWN))
    if unknown:
        raise ArgumentError(f"{where}: unknown {', '.join(unknown)}; known are {', '.join(_KNOWN)}")
    count = data.get("max_new_tokens", max_new_tokens)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ArgumentError(f"{where}: max_new_tokens is {count!r}; give a whole number of at least 1")
    eos = data.get("eos", "model")
    if isinstance(eos, bool) or not (eos is None or eos == "model" or isinstance(eos, int)):
        raise ArgumentError(f'{where}: eos is {eos!r}; give a token id, "model" or null')
    return Request(data["prompt"], count, _sampling(data, where, sampling), eos)


def _sampling(data: Mapping[str, Any], where: str, default: Sampling) -> Sampling:
    own = {name: data.get(name, getattr(default, name)) for name in _SAMPLING}
    try:
        return Sampling(**own)
    except SessionError as error:
        raise ArgumentError(f"{where}: {error}") from None
