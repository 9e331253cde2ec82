"""Where an attention is cut along its tokens: older ones on drives, the newest in host memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

Count = TypeVar("Count", int, np.ndarray)


@dataclass(frozen=True)
class TokenCut:
    """Says which tokens a share of an attention has, of the rows and KV heads that another share has the others of.

    The newest tokens live in a window. Once it is full after a run, its oldest page of tokens leaves for the flash, so that the
    next token finds room. Where a token is depends on the length of its sequence alone.

    Attributes:
        side: Which tokens these are.
        room: Tokens of each row that the window has room for, a whole number of pages.
        page_tokens: Tokens that leave at once: as many as fill a flash page.
    """

    side: Literal["older", "newest"]
    room: int
    page_tokens: int

    def departed(self, length: Count) -> Count:
        """Returns how many tokens have left the window after a run that ended at ``length`` tokens of a sequence."""
        return (length >= self.room) * ((length - self.room) // self.page_tokens + 1) * self.page_tokens

    def attended(self, length: Count) -> Count:
        """Returns this side's tokens in a decode step that attends to ``length``, the new one included."""
        older = self.departed(length - 1)
        return older if self.side == "older" else length - older

    def stored(self, length: Count) -> Count:
        """Returns this side's tokens after a run that ended at ``length``."""
        older = self.departed(length)
        return older if self.side == "older" else length - older

    def leaving(self, length: Count) -> Count:
        """Returns the tokens that leave the window after a decode step that ended at ``length``: none, or a page."""
        return self.departed(length) - self.departed(length - 1)
