"""Pieces of text to evaluate on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np

from models.errors import EvaluationError


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A piece of a text.

    Attributes:
        source: Name of the text.
        tokens: int32 ``[context + 1]``; all but the last are attended to, all but the first predicted.
    """

    source: str
    tokens: np.ndarray


def take_excerpts(
    texts: Sequence[tuple[str, str]],
    encode: Callable[[str], Sequence[int]],
    *,
    context: int,
    count: int,
    seed: int = 0,
) -> tuple[Excerpt, ...]:
    """Returns pieces that do not overlap, of as many texts as there are, at random places.

    Args:
        texts: Names and contents.
        encode: Gives the tokens of a text.
        context: Tokens of a piece.
        count: Pieces wanted; there may be fewer.
        seed: Of the places.

    Raises:
        EvaluationError: No text is long enough.
    """
    rng = np.random.default_rng(seed)
    by_text: list[list[Excerpt]] = []
    longest = 0
    for name, content in texts:
        tokens = np.asarray(encode(content), np.int32)
        longest = max(longest, len(tokens))
        starts = rng.permutation(max(0, (len(tokens) - 1) // context)) * context
        by_text.append([Excerpt(name, tokens[start : start + context + 1]) for start in starts])
    if longest <= context:
        raise EvaluationError(
            f"the longest text has {longest} tokens, and a context of {context} needs {context + 1}; "
            "give a longer text or a shorter context"
        )
    most = max(map(len, by_text))
    in_turns = [pieces[turn] for turn in range(most) for pieces in by_text if turn < len(pieces)]
    return tuple(in_turns[:count])


def digest_of(excerpts: Sequence[Excerpt]) -> str:
    """Returns a hash of all tokens, in hex."""
    digest = sha256()
    for excerpt in excerpts:
        digest.update(excerpt.tokens.astype("<i4").tobytes())
    return digest.hexdigest()
