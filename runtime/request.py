"""Requests, and what comes of each."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from runtime.errors import SessionError
from runtime.prompts import Prompt
from runtime.sampling_settings import GREEDY, Sampling

Eos = int | Collection[int] | Literal["model"] | None
"""Tokens that end a request: one, several, the one that the model's tokenizer knows (``model``), or none."""

Reason = Literal["eos", "length"]
"""Why a request ended: with such a token, or at its number of tokens."""


@dataclass(frozen=True, eq=False)
class Request:
    """Asks for text after a prompt.

    Attributes:
        prompt: Text or token ids.
        max_new_tokens: New tokens at most.
        sampling: How they are drawn.
        eos: Tokens that end the request before; by default the model's own, where its tokenizer knows one.
    """

    prompt: Prompt
    max_new_tokens: int = 64
    sampling: Sampling = GREEDY
    eos: Eos = "model"


@dataclass(frozen=True)
class RequestTimings:
    """Says when what happened to a request, in seconds since the start of serving by the session's clock.

    Attributes:
        begin_s: It took a slot.
        first_token_s: Its first new token was there.
        end_s: Its last one was there.
        num_tokens: New tokens.
    """

    begin_s: float
    first_token_s: float
    end_s: float
    num_tokens: int

    @property
    def time_to_first_token_s(self) -> float:
        """Returns the seconds from taking a slot to the first new token."""
        return self.first_token_s - self.begin_s

    @property
    def total_s(self) -> float:
        """Returns the seconds that the slot was taken."""
        return self.end_s - self.begin_s

    @property
    def tokens_per_second(self) -> float:
        """Returns new tokens per second of the slot."""
        return self.num_tokens / self.total_s if self.total_s else float("inf")


@dataclass(frozen=True, eq=False)
class Completed:
    """Holds what came of a request.

    Attributes:
        request: The request.
        number: Of the request, in the order in which they were taken, from 0.
        tokens: New token ids, the one that ended it included.
        text: The same as text, without the token that ended it; None for a model without a tokenizer.
        reason: Why it ended.
        timings: When what happened.
    """

    request: Request
    number: int
    tokens: list[int]
    text: str | None
    reason: Reason
    timings: RequestTimings


def ending_tokens(eos: Eos, tokenizer: Any, vocab_size: int) -> frozenset[int]:
    """Returns the ids that end a request.

    Args:
        eos: As a request says it.
        tokenizer: The model's, or None.
        vocab_size: Tokens that the model knows.

    Raises:
        SessionError: It is none of what a request may say, or an id that the model does not have.
    """
    known = getattr(tokenizer, "eos_id", None) if eos == "model" else eos
    given = [] if known is None else list(known) if isinstance(known, Collection) else [known]
    for token in given:
        if isinstance(token, bool) or not isinstance(token, int | np.integer) or not 0 <= token < vocab_size:
            raise SessionError(
                f"eos is {eos!r}; give token ids from 0 to {vocab_size - 1}, 'model' for the model's own, or None to end at "
                "the number of tokens alone"
            )
    return frozenset(map(int, given))


def text_of(tokens: list[int], reason: Reason, tokenizer: Any) -> str | None:
    """Returns new tokens as text, without the one that ended them; None where there is no tokenizer."""
    if tokenizer is None:
        return None
    text: str = tokenizer.decode(tokens[:-1] if reason == "eos" else tokens)
    return text
