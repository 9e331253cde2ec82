"""Which pages sparse attention wants where no values say so: channels and tokens are drawn.

Query channels are drawn at random without return; beside the newest tokens, which are always wanted, tokens come in clusters
of :data:`cost_models.TOKENS_PER_CLUSTER`, each of which touches the page of a token drawn without return. The generator has a
fixed seed, so equal simulations give equal times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cost_models import TOKENS_PER_CLUSTER
from runtime.csd.task import Task

NUM_DRAWS = 256
"""Pairs of a sequence and a KV head that draw for themselves; further ones take these draws again, on other channels. The mean
over 256 pairs, of some 60 pages each, is within 1 % of the expected one."""


@dataclass(frozen=True, eq=False)
class DrawnPages:
    """Marks the pages that pairs want of one attention.

    Attributes:
        lanes: Bool ``[draws, channel_pages]``, channel pages of every channel group.
        keys: Bool ``[draws, groups]``, token pages of K for step two, less those that step one reads.
        values: Bool ``[draws, groups]``, token pages of V.
    """

    lanes: np.ndarray
    keys: np.ndarray
    values: np.ndarray


def num_lots(num_pairs: int) -> int:
    """Returns how many layers and drives of some pairs draw apart; over many pairs, draws level out by themselves."""
    return max(1, NUM_DRAWS // num_pairs)


def draw_of_pair(num_pairs: int, lot: int) -> np.ndarray:
    """Returns which draw holds for each pair, int64 ``[num_pairs]``.

    Draws are taken one after the other from where ``lot`` begins, and in each round begin one later, so that pairs of one draw
    lie on different channels.

    Args:
        num_pairs: Pairs.
        lot: Which layers and drives these pairs are of: different ones begin elsewhere.
    """
    pairs = lot * num_pairs + np.arange(num_pairs)
    return (pairs + pairs // NUM_DRAWS) % NUM_DRAWS


def draw_pages(
    task: Task,
    num_channels: int,
    num_tokens: int,
    num_newest: int,
    length: int,
    seen: int,
    groups: int,
    copied: int,
) -> DrawnPages:
    """Draws what pairs want.

    Args:
        task: Shape of the cache.
        num_channels: r, channels of step one.
        num_tokens: k, tokens of step two.
        num_newest: Newest ones among them.
        length: Tokens of a sequence.
        seen: The newest of them, from which tokens are chosen.
        groups: Groups of tokens in flash.
        copied: Those of them that are stored by channel, too.
    """
    random = np.random.default_rng(length)
    chosen = _smallest(
        random.random((NUM_DRAWS, task.head_size), np.float32), np.full(NUM_DRAWS, num_channels)
    )
    lanes = _any_within(chosen, task.channel_pages)
    among = max(0, seen - num_newest)
    clusters = min(float(among), max(0, num_tokens - num_newest) / TOKENS_PER_CLUSTER)
    counts = np.floor(clusters + random.random(NUM_DRAWS)).astype(np.int64)
    drawn = _smallest(random.random((NUM_DRAWS, among), np.float32), np.minimum(counts, among))
    in_pages = groups * task.group_tokens
    unseen = np.zeros((NUM_DRAWS, length - seen), np.bool_)
    newest = np.ones((NUM_DRAWS, seen - among), np.bool_)
    wanted = np.concatenate([unseen, drawn, newest], axis=1)[:, :in_pages]
    values = _any_within(wanted, groups)
    keys = np.concatenate([values[:, :copied], np.zeros_like(values[:, copied:])], axis=1)
    return DrawnPages(lanes, keys, values)


def _any_within(marked: np.ndarray, num_pages: int) -> np.ndarray:
    """Tells which of ``num_pages`` equal pages, of which there may be none, hold a mark: bool ``[n, num_pages]``."""
    size = marked.shape[1] // max(1, num_pages)
    held: np.ndarray = np.logical_or.reduce(marked.reshape(len(marked), num_pages, size), axis=2)
    return held


def _smallest(numbers: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Marks the smallest ``counts``, int64 ``[n]``, of each row of numbers ``[n, m]``."""
    marked = np.zeros(numbers.shape, np.bool_)
    for count in np.unique(counts).tolist():
        rows = counts == count
        if count:
            last = np.partition(numbers[rows], count - 1, axis=1)[:, count - 1 : count]
            marked[rows] = numbers[rows] <= last
    return marked
