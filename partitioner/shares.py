"""Splits one attention over the members of a tier."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from partitioner.token_cut import TokenCut


@dataclass(frozen=True)
class Share:
    """Says which part of one attention a device holds: a range of batch rows and a range of KV heads.

    Attributes:
        device: Name, e.g. ``csd2``.
        rows: (start, stop) in the batch.
        kv_heads: (start, stop).
        fraction: Of batch x KV heads.
        cut: Which tokens of these it holds; None for all.
    """

    device: str
    rows: tuple[int, int]
    kv_heads: tuple[int, int]
    fraction: float
    cut: TokenCut | None = None

    @property
    def num_rows(self) -> int:
        """Returns how many batch rows the share has."""
        return self.rows[1] - self.rows[0]

    @property
    def num_kv_heads(self) -> int:
        """Returns how many KV heads the share has."""
        return self.kv_heads[1] - self.kv_heads[0]


def attended_fraction(share: Share, context_len: int) -> float:
    """Returns the part of all rows x KV heads x tokens that a share attends to at a context length."""
    if share.cut is None:
        return share.fraction
    return share.fraction * share.cut.attended(context_len) / context_len


@functools.cache
def even_shares(devices: tuple[str, ...], batch_size: int, num_kv_heads: int) -> tuple[Share, ...]:
    """Returns shares as even as whole heads and rows allow; by KV heads, and by rows as well only where that is more even.

    Sequences of different lengths load devices alike that have all rows. Devices for which nothing is left get no share.
    """
    least = -(-batch_size * num_kv_heads // len(devices))
    best: tuple[Share, ...] = ()
    largest = math.inf
    for count in range(1, min(batch_size, len(devices)) + 1):
        shares = _in_row_groups(devices, batch_size, num_kv_heads, count)
        size = max(s.num_rows * s.num_kv_heads for s in shares)
        if size < largest:
            best, largest = shares, size
        if largest == least:
            break
    return best


def _in_row_groups(
    devices: tuple[str, ...], batch_size: int, num_kv_heads: int, count: int
) -> tuple[Share, ...]:
    """Returns shares of ``count`` groups of rows, each cut along the KV heads."""
    members = _apportioned(len(devices), [1] * count)
    sizes = [min(stop - start, num_kv_heads) for start, stop in members]
    shares: list[Share] = []
    for (start, _), size, rows in zip(members, sizes, _apportioned(batch_size, sizes), strict=True):
        for device, heads in zip(
            devices[start : start + size], _apportioned(num_kv_heads, [1] * size), strict=True
        ):
            fraction = (rows[1] - rows[0]) * (heads[1] - heads[0]) / (batch_size * num_kv_heads)
            shares.append(Share(device, rows, heads, fraction))
    return tuple(shares)


def with_newest(
    shares: tuple[Share, ...], drives: tuple[str, ...], host: str, room: int, page_tokens: int
) -> tuple[Share, ...]:
    """Returns shares of which those on drives give up their newest tokens to a window in host memory, which comes last.

    Args:
        shares: Of one attention; those on drives are side by side, and the host has none.
        drives: Names.
        host: Name of the device that keeps the window.
        room: Tokens that the window has room for.
        page_tokens: Tokens that leave it at once.
    """
    cut = [s for s in shares if s.device in drives]
    rows, heads = (
        (min(r[0] for r in ranges), max(r[1] for r in ranges))
        for ranges in ([s.rows for s in cut], [s.kv_heads for s in cut])
    )
    older = tuple(
        replace(s, cut=TokenCut("older", room, page_tokens)) if s.device in drives else s for s in shares
    )
    fraction = sum(s.fraction for s in cut)
    return (*older, Share(host, rows, heads, fraction, TokenCut("newest", room, page_tokens)))


def _apportioned(total: int, weights: Sequence[int]) -> list[tuple[int, int]]:
    """Returns consecutive ranges that cover ``total``, one or more each, as long in proportion to the weights as can be."""
    if len(set(weights)) == 1 and total >= len(weights):  # then they go round
        least, more = divmod(total, len(weights))
        counts = [least + (n < more) for n in range(len(weights))]
        return list(itertools.pairwise(itertools.accumulate(counts, initial=0)))
    counts = [1] * len(weights)
    for _ in range(total - len(weights)):
        counts[min(range(len(weights)), key=lambda i: (counts[i] + 1) / weights[i])] += 1
    return list(itertools.pairwise(itertools.accumulate(counts, initial=0)))
