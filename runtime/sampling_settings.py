"""How the next token is chosen: the settings of a request, and those of all rows of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from runtime.errors import SessionError

_ALL = np.iinfo(np.int32).max


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def _within_float32(temperature: float) -> float:
    """Returns a temperature whose reciprocal is a normal float32, too; those beyond draw alike."""
    return min(max(temperature, 1e-30), 1e30) if temperature else 0.0


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@dataclass(frozen=True)
class Sampling:
    """Says how a request's tokens are drawn; as it stands, always the likeliest.

    Logits are divided by the temperature, the likeliest ``top_k`` tokens are kept, and of those the likeliest ones that
    together reach a probability of ``top_p``; one of them is drawn by its probability. Equally likely tokens rank by id,
    smallest first.

    What is drawn depends on the logits, these settings and the number of the token alone, so a request gets the same tokens
    whatever runs beside it.

    Attributes:
        temperature: 0 takes the likeliest token; 1 draws by the model's own probabilities.
        top_k: Tokens kept, or None for all.
        top_p: Probability kept, above 0 and up to 1.
        seed: Of this request's draws, from 0 to 2**32 - 1.

    Raises:
        SessionError: A value is out of its range.
    """

    temperature: float = 0.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not _is_number(self.temperature) or not 0.0 <= self.temperature < math.inf:
            raise SessionError(
                f"temperature is {self.temperature!r}; give a number of at least 0, where 0 takes the likeliest token"
            )
        if self.top_k is not None and (not _is_whole(self.top_k) or not 1 <= self.top_k <= _ALL):
            raise SessionError(
                f"top_k is {self.top_k!r}; give a whole number of at least 1, or None to keep all tokens"
            )
        if not _is_number(self.top_p) or not 0.0 < self.top_p <= 1.0:
            raise SessionError(
                f"top_p is {self.top_p!r}; give a number above 0 and up to 1, where 1 keeps all tokens"
            )
        if not _is_whole(self.seed) or not 0 <= self.seed < 2**32:
            raise SessionError(f"seed is {self.seed!r}; give a whole number from 0 to 2**32 - 1")

    @property
    def is_greedy(self) -> bool:
        """Tells whether it always takes the likeliest token."""
        return self.temperature == 0.0


GREEDY = Sampling()


class RowSettings(NamedTuple):
    """Holds the settings of every row of a run as arrays, so that other values need no other executable.

    Attributes:
        temperature: float32[rows].
        top_k: int32[rows].
        top_p: float32[rows].
        seed: uint32[rows].
        prompt_len: int32[rows], tokens before a row's first new one: a token at position ``n`` has number ``n - prompt_len``.
    """

    temperature: Any
    top_k: Any
    top_p: Any
    seed: Any
    prompt_len: Any

    @staticmethod
    def of(samplings: Sequence[Sampling], prompt_lens: Sequence[int]) -> RowSettings:
        """Returns the settings of rows, one sampling and one length of a prompt for each."""
        return RowSettings(
            np.array([_within_float32(s.temperature) for s in samplings], np.float32),
            np.array([_ALL if s.top_k is None else s.top_k for s in samplings], np.int32),
            np.array([s.top_p for s in samplings], np.float32),
            np.array([s.seed for s in samplings], np.uint32),
            np.array(prompt_lens, np.int32),
        )
