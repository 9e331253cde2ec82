"""Splits one attention over the members of a tier."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """Says which part of one attention a device holds: a range of batch rows and a range of KV heads.

    Attributes:
        device: Name, e.g. ``csd2``.
        rows: (start, stop) in the batch.
        kv_heads: (start, stop).
        fraction: Of batch x KV heads.
    """

    device: str
    rows: tuple[int, int]
    kv_heads: tuple[int, int]
    fraction: float

    @property
    def num_rows(self) -> int:
        """Returns how many batch rows the share has."""
        return self.rows[1] - self.rows[0]

    @property
    def num_kv_heads(self) -> int:
        """Returns how many KV heads the share has."""
        return self.kv_heads[1] - self.kv_heads[0]


def even_shares(devices: tuple[str, ...], batch_size: int, num_kv_heads: int) -> tuple[Share, ...]:
    """Returns shares as even as whole heads and rows allow: by KV heads first, by rows where drives outnumber heads.

    Devices for which nothing is left get no share.
    """
    row_groups = min(batch_size, -(-len(devices) // num_kv_heads))
    members = _apportioned(len(devices), [1] * row_groups)
    sizes = [min(stop - start, num_kv_heads) for start, stop in members]
    shares: list[Share] = []
    for (start, _), size, rows in zip(members, sizes, _apportioned(batch_size, sizes), strict=True):
        for device, heads in zip(
            devices[start : start + size], _apportioned(num_kv_heads, [1] * size), strict=True
        ):
            fraction = (rows[1] - rows[0]) * (heads[1] - heads[0]) / (batch_size * num_kv_heads)
            shares.append(Share(device, rows, heads, fraction))
    return tuple(shares)


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
