"""Generations whose rows draw tokens or end by themselves: prompts as requests that join together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from runtime.errors import SessionError
from runtime.prompts import PromptBatch
from runtime.request import Completed, Eos, Request
from runtime.sampling_settings import Sampling
from runtime.serving import Serving
from runtime.text_pieces import Piece, TextPieces


def requests_of(
    batch: PromptBatch, max_new_tokens: int, sampling: Sampling | Sequence[Sampling], eos: Eos
) -> list[Request]:
    """Returns one request for every prompt of a batch.

    Raises:
        SessionError: There are not as many settings as prompts, or something else than settings.
    """
    prompts = batch.prompts()
    each = [sampling] * len(prompts) if isinstance(sampling, Sampling) else list(sampling)
    if len(each) != len(prompts) or not all(isinstance(s, Sampling) for s in each):
        raise SessionError(
            f"sampling is {sampling!r} for {len(prompts)} prompts; give one runtime.Sampling for all, or one for each"
        )
    return [Request(p, max_new_tokens, s, eos) for p, s in zip(prompts, each, strict=True)]


def stream_pieces(serving: Serving, heard: deque[tuple[int, int]], num_rows: int) -> Iterator[Piece]:
    """Yields tokens with their text as serving makes them.

    Args:
        serving: Makes one token per row at a time.
        heard: Where it leaves rows and tokens.
        num_rows: How many rows there are.
    """
    texts = [TextPieces(serving.tokenizer) for _ in range(num_rows)]
    while serving.advance():
        ended = {c.number: c for c in serving.take_done()}
        while heard:
            row, token = heard.popleft()
            completed = ended.get(row)
            is_last = completed is not None and not any(other == row for other, _ in heard)
            text = texts[row].rest(completed.text) if completed and is_last else texts[row].push(token)
            yield Piece(row, token, text)


def in_order(serving: Serving) -> list[Completed]:
    """Returns what came of all requests, in their order."""
    return sorted(serving, key=lambda completed: completed.number)
