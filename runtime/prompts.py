"""Checks prompts and lines them up as a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partitioner.workload import Workload
from runtime.errors import SessionError

Prompt = str | Sequence[int] | np.ndarray


@dataclass(frozen=True, eq=False)
class PromptBatch:
    """Holds prompts padded on the right, one row each.

    Attributes:
        tokens: int32[batch, prompt_len].
        lengths: int32[batch], tokens of each prompt; rows beyond the last prompt are dummies of one token.
        num_prompts: Rows that count.
        known: int32[batch, n], new tokens that are known beforehand, padded on the right.
        num_known: int32[batch], how many.
    """

    tokens: np.ndarray
    lengths: np.ndarray
    num_prompts: int
    known: np.ndarray
    num_known: np.ndarray

    def prompts(self) -> list[list[int]]:
        """Returns the tokens of each prompt."""
        return [self.tokens[row, : self.lengths[row]].tolist() for row in range(self.num_prompts)]


def line_up(
    prompts: Sequence[Prompt],
    workload: Workload,
    vocab_size: int,
    tokenizer: Any,
    known: Sequence[Sequence[int]] = (),
) -> PromptBatch:
    """Returns prompts as a batch of the workload's size.

    Args:
        prompts: Texts or token ids.
        workload: Has the sizes.
        vocab_size: Tokens that the model knows.
        tokenizer: For texts; None where there is none.
        known: New tokens of each prompt that are known beforehand.

    Raises:
        SessionError: No prompts or too many, one that is empty or too long, text without a tokenizer, or a token id
            that the model does not have.
    """
    if isinstance(prompts, str) or not isinstance(prompts, Sequence | np.ndarray):
        raise SessionError(
            f"prompts is a {type(prompts).__name__}; give a list of texts or of token id lists"
        )
    if len(prompts) == 0:
        raise SessionError("there are no prompts; give at least one")
    if len(prompts) > workload.batch_size:
        raise SessionError(
            f"{len(prompts)} prompts for a plan with batch size {workload.batch_size}; give at most that many, or "
            f"partition for Workload(batch_size={len(prompts)})"
        )
    tokens = np.zeros((workload.batch_size, workload.prompt_len), np.int32)
    lengths = np.ones(workload.batch_size, np.int32)
    for row, prompt in enumerate(prompts):
        ids = prompt_ids(row, prompt, workload, vocab_size, tokenizer)
        tokens[row, : len(ids)] = ids
        lengths[row] = len(ids)
    return PromptBatch(tokens, lengths, len(prompts), *_padded(known, workload.batch_size))


def _padded(rows: Sequence[Sequence[int]], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns rows of numbers as int32[count, longest], and how many each has."""
    lengths = np.zeros(count, np.int32)
    lengths[: len(rows)] = [len(row) for row in rows]
    padded = np.zeros((count, int(lengths.max(initial=0))), np.int32)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded, lengths


def check_new_tokens(max_new_tokens: int, workload: Workload) -> int:
    """Returns the number of new tokens.

    Raises:
        SessionError: It is not a whole number from 1 to what the plan has room for.
    """
    if isinstance(max_new_tokens, bool) or not isinstance(max_new_tokens, int) or max_new_tokens < 1:
        raise SessionError(f"max_new_tokens is {max_new_tokens!r}; give a whole number of at least 1")
    if max_new_tokens > workload.decode_len:
        raise SessionError(
            f"max_new_tokens is {max_new_tokens}, the plan has room for {workload.decode_len}; ask for fewer, or "
            f"partition for Workload(decode_len={max_new_tokens})"
        )
    return max_new_tokens


def prompt_ids(row: int, prompt: Any, workload: Workload, vocab_size: int, tokenizer: Any) -> list[int]:
    """Returns the tokens of a prompt.

    Args:
        row: What errors call it.
        prompt: Text or token ids.
        workload: Says how long it may be.
        vocab_size: Tokens that the model knows.
        tokenizer: For text; None where there is none.

    Raises:
        SessionError: It is empty or too long, text without a tokenizer, or holds a token id that the model does not have.
    """
    ids = _ids(row, prompt, vocab_size, tokenizer)
    if len(ids) > workload.prompt_len:
        raise SessionError(
            f"prompt {row} has {len(ids)} tokens, the plan is for at most {workload.prompt_len}; shorten it, or "
            f"partition for Workload(prompt_len={len(ids)})"
        )
    return ids


def _ids(row: int, prompt: Any, vocab_size: int, tokenizer: Any) -> list[int]:
    if isinstance(prompt, str):
        if tokenizer is None:
            raise SessionError(
                f"prompt {row} is text, but the model has no tokenizer; give token ids, or load the model from a folder "
                "with a tokenizer.json"
            )
        prompt = tokenizer.encode(prompt)
    array = np.asarray(prompt)
    if array.ndim == 1 and array.size == 0:
        raise SessionError(f"prompt {row} is empty; give at least one token")
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise SessionError(
            f"prompt {row} is a {type(prompt).__name__} of shape {list(array.shape)} and dtype {array.dtype}; give text or "
            "a list of whole numbers"
        )
    wrong = [int(t) for t in array if not 0 <= t < vocab_size]
    if wrong:
        raise SessionError(
            f"prompt {row} holds token id {wrong[0]}, the model knows 0 to {vocab_size - 1}; use its own tokenizer"
        )
    return [int(t) for t in array]
