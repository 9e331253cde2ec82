"""What a sparse attention is asked for, where it finds K and V, and what it works in; tuples, because the compiler knows those.

Letters: ``n`` sequences, ``H`` query heads, ``K`` KV heads, ``G`` query heads that share a KV head, ``D`` head size, ``r``
channels of step one, ``S`` tokens attended to at most, ``k`` tokens of step two at most.
"""

from typing import NamedTuple

import numpy as np

from runtime.kernels.addresses import Pages


class Request(NamedTuple):
    """What is attended to.

    Attributes:
        query: float32 ``[n, H, D]``, not scaled.
        scale: Factor of the scores.
        soft_cap: Scores are ``soft_cap * tanh(score / soft_cap)``, in both steps; 0 for none.
        slopes: float32 ``[H]``, what a score loses per token of distance, in both steps; ``[0]`` for none.
        rows: int64 ``[n]``, the sequence in mapping tables and buffer.
        first_token: int64 ``[n]``, oldest token attended to.
        last_token: int64 ``[n]``, token after the newest one; more than ``num_tokens`` lie between the two.
        num_tokens: int64 ``[n]``, tokens chosen, at least 1.
        num_newest: int64 ``[n]``, the newest of them, chosen whatever they weigh.
        mean_value: What tokens that are not chosen weigh goes to the mean of the values.
        value_sums: float32 ``[rows, K, D]``, sums of the values of all tokens attended to.
    """

    query: np.ndarray
    scale: np.float32
    soft_cap: np.float32
    slopes: np.ndarray
    rows: np.ndarray
    first_token: np.ndarray
    last_token: np.ndarray
    num_tokens: np.ndarray
    num_newest: np.ndarray
    mean_value: bool
    value_sums: np.ndarray


class Layout(NamedTuple):
    """Where K and V lie.

    Attributes:
        flash_tokens: int64 ``[n]``, tokens that are in flash, whole groups; later ones are in the buffer.
        lane_tokens: int64 ``[n]``, those of them whose keys are stored by channel, too.
        table: int64 ``[rows, K, 2, groups]``, page numbers.
        channel_table: int64 ``[rows, K, D / channels of a page, channel groups]``, page numbers.
        buffer_address: Address of the layer's buffer ``[rows, K, 2, group_tokens, D]`` of elements.
        group_tokens: Tokens in a token page.
        channel_tokens: Tokens in a channel page.
        element: Element type of pages and buffer.
        element_bytes: Bytes of an element.
        pages: Where pages lie.
    """

    flash_tokens: np.ndarray
    lane_tokens: np.ndarray
    table: np.ndarray
    channel_table: np.ndarray
    buffer_address: int
    group_tokens: int
    channel_tokens: int
    element: int
    element_bytes: int
    pages: Pages


class Chosen(NamedTuple):
    """What was chosen and read.

    Attributes:
        channels: int64 ``[n, K, r]``, channels of step one, ascending.
        tokens: int64 ``[n, K, k]``, tokens of step two, ascending, -1 behind the last one.
        pages_read: int64 ``[parts, 2, flash channels]``, pages by step; a part works on its own row.
        stored: int64 ``[parts, 2]``, tokens of step two whose key is stored by channel, and whose value is in flash; likewise.
    """

    channels: np.ndarray
    tokens: np.ndarray
    pages_read: np.ndarray
    stored: np.ndarray


class Scratch(NamedTuple):
    """Memory of one thread. What belongs to a pair that is still on its way is kept for two pairs, in turns.

    Attributes:
        magnitudes: float32 ``[D]``.
        pruned: float32 ``[2, G, r]``, scaled queries in the chosen channels.
        lanes: int64 ``[2, groups that are on their way and 1, r]``, addresses of channels in the groups of channel pages.
        weights: float32 ``[G, S]``, what every token weighs by step one.
        summed: float32 ``[S]``, the same summed over query heads.
        distances: float32 ``[S]``, how far tokens lie behind the newest one; ``[0]`` where no slope needs them.
        alpha: float32 ``[2, G]``, what the chosen tokens weigh by step one.
        keys: int64 ``[k]``, addresses of the chosen keys.
        values: int64 ``[k]``, addresses of the chosen values.
        queries: float32 ``[G, D]``, scaled.
        scores: float32 ``[G, TILE_TOKENS]``, see :mod:`runtime.kernels.step_two`.
        sums: float32 ``[G, D]``.
        top: float32 ``[G]``.
        total: float32 ``[G]``.
    """

    magnitudes: np.ndarray
    pruned: np.ndarray
    lanes: np.ndarray
    weights: np.ndarray
    summed: np.ndarray
    distances: np.ndarray
    alpha: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    queries: np.ndarray
    scores: np.ndarray
    sums: np.ndarray
    top: np.ndarray
    total: np.ndarray
