"""Splits one attention over the members of a tier."""

from __future__ import annotations

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
    shares: list[Share] = []
    for group, members in zip(
        _ranges(batch_size, row_groups), _ranges(len(devices), row_groups), strict=True
    ):
        mine = devices[members[0] : members[1]][:num_kv_heads]
        for device, heads in zip(mine, _ranges(num_kv_heads, len(mine)), strict=True):
            fraction = (group[1] - group[0]) * (heads[1] - heads[0]) / (batch_size * num_kv_heads)
            shares.append(Share(device, group, heads, fraction))
    return tuple(shares)


def _ranges(total: int, parts: int) -> list[tuple[int, int]]:
    """Returns ``parts`` consecutive ranges that cover ``total``, the longer ones first."""
    base, extra = divmod(total, parts)
    edges = [0]
    for i in range(parts):
        edges.append(edges[-1] + base + (i < extra))
    return list(zip(edges[:-1], edges[1:], strict=True))
