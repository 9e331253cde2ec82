"""Prompts of one length: windows of a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from models import Tokenizer, Transformer
from partitioner import Workload
from runtime.cli.given_model import tokenizer_of
from runtime.cli.one_line_errors import ArgumentError


def prompt_windows(tokenizer: Tokenizer, text: str, batch_size: int, prompt_len: int) -> np.ndarray:
    """Returns int32[batch_size, prompt_len]: windows of a text, evenly spaced; a short text is repeated.

    Args:
        tokenizer: The model's.
        text: What to cut windows out of.
        batch_size: Number of windows.
        prompt_len: Tokens of each.

    Raises:
        ArgumentError: If the text has no token.
    """
    tokens = np.array(tokenizer.encode(text), np.int32)
    if not len(tokens):
        raise ArgumentError(
            "prompts are empty, so nothing can be cut out of them; give text to --prompt-file"
        )
    tokens = np.tile(tokens, -(-prompt_len // len(tokens)))
    starts = np.linspace(0, len(tokens) - prompt_len, batch_size).astype(int)
    return np.stack([tokens[start : start + prompt_len] for start in starts])


def prompts_of_length(
    model: Transformer, texts: Sequence[str]
) -> Callable[[Workload], Sequence[Sequence[int]]]:
    """Returns what gives the prompts of a workload, each as long as planned: windows of all texts together."""
    tokenizer, text = tokenizer_of(model), "\n".join(texts)
    return lambda load: prompt_windows(tokenizer, text, load.batch_size, load.prompt_len).tolist()
