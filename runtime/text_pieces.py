"""Text as its tokens come, with no character broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_BROKEN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Piece:
    """One new token, and the text that is complete with it.

    Attributes:
        row: Of the prompt.
        token: Its id.
        text: Empty while the bytes of a character are still coming, and for a model without a tokenizer.
    """

    row: int
    token: int
    text: str


class TextPieces:
    """Turns tokens into text one by one.

    A token may hold a part of a character, and its text may depend on the tokens before it. So a window of tokens is decoded
    with and without the new ones, and their text is held back while it ends in a broken character.

    Args:
        tokenizer: Has ``decode``; None: there is no text.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._window: list[int] = []
        self._told = 0
        self.length = 0

    def push(self, token: int) -> str:
        """Returns the text that is complete with a token."""
        if self._tokenizer is None:
            return ""
        self._window.append(token)
        before: str = self._tokenizer.decode(self._window[: self._told])
        now: str = self._tokenizer.decode(self._window)
        if len(now) <= len(before) or now.endswith(_BROKEN):
            return ""
        self._window, self._told = self._window[self._told :], len(self._window) - self._told
        self.length += len(now) - len(before)
        return now[len(before) :]

    def rest(self, text: str | None) -> str:
        """Returns what is left of the whole text."""
        return "" if text is None else text[self.length :]
