"""SparQ attention in float64, written from the paper's steps (arXiv 2312.04985, algorithm 1; arXiv 2409.04992, section 4)."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Chosen:
    """What one KV head of one sequence chose: channels and tokens, ascending."""

    channels: np.ndarray
    tokens: np.ndarray


def largest(values: np.ndarray, count: int) -> np.ndarray:
    """Returns the indices of the ``count`` largest values, ascending; of equal ones those that come first."""
    return np.sort(np.argsort(-values, kind="stable")[:count])


def choose_channels(query: np.ndarray, num_channels: int) -> np.ndarray:
    """Step 1: for query [G, D], the channels with the largest |q|, summed over the heads that share K."""
    return largest(np.abs(query).sum(axis=0), num_channels)


def approximate(
    query: np.ndarray, key: np.ndarray, channels: np.ndarray, scale: float, soft_cap: float | None,
    slopes: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Steps 2 and 3: s_hat [G, S] for query [G, D] and key [S, D]; ``scale`` stands for 1 / sqrt(d)."""
    pruned = query[:, channels]
    share = np.abs(pruned).sum(axis=1) / np.abs(query).sum(axis=1)
    scores = pruned @ key[:, channels].T * scale / np.sqrt(share)[:, None]
    return softmax(lowered(cap(scores, soft_cap), np.arange(len(key)), len(key), slopes))


def choose_tokens(s_hat: np.ndarray, num_tokens: int, num_newest: int) -> np.ndarray:
    """Step 4: the newest tokens and, of the others, those that weigh most, summed over the heads that share K."""
    summed = s_hat.sum(axis=0)
    older = len(summed) - num_newest
    return np.concatenate(
        [largest(summed[:older], num_tokens - num_newest), np.arange(older, len(summed))]
    ).astype(int)


def attend_chosen(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, s_hat: np.ndarray, tokens: np.ndarray,
    scale: float, soft_cap: float | None, mean_value: bool, slopes: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Steps 4 to 6: [G, D] from the tokens chosen."""
    scores = cap(query @ key[tokens].T * scale, soft_cap)
    out = softmax(lowered(scores, tokens, len(key), slopes)) @ value[tokens]
    if not mean_value:
        return out
    alpha = s_hat[:, tokens].sum(axis=1)[:, None]
    return alpha * out + (1.0 - alpha) * value.mean(axis=0)


def lowered(scores: np.ndarray, tokens: np.ndarray, count: int, slopes: np.ndarray) -> np.ndarray:
    """Returns scores [G, k] of some of ``count`` tokens, lower by slopes [G] for each token of distance from the newest."""
    return scores - slopes[:, None] * (count - 1 - tokens)


def cap(scores: np.ndarray, soft_cap: float | None) -> np.ndarray:
    """Returns capped scores."""
    return scores if soft_cap is None else soft_cap * np.tanh(scores / soft_cap)


def softmax(scores: np.ndarray) -> np.ndarray:
    """Returns weights over the last axis."""
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
