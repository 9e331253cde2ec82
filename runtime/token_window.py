"""The newest tokens of a share of an attention, in host memory: a ring of rooms for each row and KV head.

Token ``t`` of a row lies in room ``t % T``. Which tokens are there follows from the row's length (:class:`TokenCut`).

Letters: ``n`` rows, ``H`` query heads, ``K`` KV heads, ``T`` rooms, ``D`` head size.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from partitioner.ir.op import Attention
from partitioner.shares import Share
from partitioner.token_cut import TokenCut
from runtime.attention_parts import put_output, slopes_part
from runtime.host_attention import append_tokens, attend_host
from runtime.partial_attention import PartialAttention, merge_partials, no_statistics

Pair = tuple[np.ndarray, np.ndarray]
"""K and V, each ``[n, K, T, D]``."""


def attend_window(
    query: np.ndarray,
    new: Pair,
    pair: Pair,
    length: np.ndarray,
    attention: Attention,
    share: Share,
    cut: TokenCut,
) -> PartialAttention:
    """Puts the new token of each row into a window, and attends to what is in it.

    Args:
        query: Float ``[n, H, D]``.
        new: New keys and values, each ``[n, K, D]``.
        pair: The window, written in place.
        length: Integer ``[n]``, tokens of each row, the new one included.
        attention: The attention.
        share: The window's share.
        cut: Its tokens.
    """
    append_tokens(pair, new, (length - 1) % pair[0].shape[2])
    statistics = no_statistics(*query.shape[:2])
    output = attend_host(
        query, pair, length, attention.scale, soft_cap=attention.soft_cap, window=attention.window,
        slopes=slopes_part(attention, share), first=length - cut.attended(length), statistics=statistics,
    )  # fmt: skip
    return PartialAttention(output, statistics)


def fill_window(pair: Pair, made: Pair, rows: np.ndarray, lengths: np.ndarray, cut: TokenCut) -> None:
    """Puts the newest tokens of prompts into a window.

    Args:
        pair: The window, written in place.
        made: What a prefill made of all tokens, each ``[n, K, tokens, D]``.
        rows: Integer ``[n]``, rows of the window.
        lengths: Integer ``[n]``, tokens of each prompt.
        cut: The window's tokens.
    """
    for index, (row, length) in enumerate(zip(rows.tolist(), lengths.tolist(), strict=True)):
        tokens = np.arange(length - cut.stored(length), length)
        for window, fresh in zip(pair, made, strict=True):
            window[row, :, tokens % window.shape[2]] = fresh[index, :, tokens].astype(window.dtype)


def leaving_page(
    pair: Pair, share: Share, older: Share, rows: np.ndarray, first: np.ndarray, cut: TokenCut
) -> Pair:
    """Returns the page of tokens that leaves a window, each ``[n, K, page_tokens, D]``.

    Args:
        pair: The window.
        share: Its share.
        older: The share of older tokens for which the page is.
        rows: Integer ``[n]``, rows of that share.
        first: Integer ``[n]``, the oldest token of each page.
        cut: The window's tokens.
    """
    own = rows + older.rows[0] - share.rows[0]
    heads = slice(older.kv_heads[0] - share.kv_heads[0], older.kv_heads[1] - share.kv_heads[0])
    rooms = (first[:, None] + np.arange(cut.page_tokens)) % pair[0].shape[2]
    key, value = (window[own[:, None], heads, rooms].swapaxes(1, 2) for window in pair)
    return key, value


def put_merged(whole: np.ndarray, parts: Mapping[Share, PartialAttention]) -> None:
    """Adds up the attentions to older and newest tokens, and writes them to their places in the output ``[B, K, G, D]``."""
    window, newest = next((s, p) for s, p in parts.items() if s.cut is not None and s.cut.side == "newest")
    group = whole.shape[2]
    for share, older in parts.items():
        if share is window:
            continue
        rows = slice(share.rows[0] - window.rows[0], share.rows[1] - window.rows[0])
        first, stop = (group * (head - window.kv_heads[0]) for head in share.kv_heads)
        put_output(whole, merge_partials([older, newest.part(rows, slice(first, stop))]), share)
