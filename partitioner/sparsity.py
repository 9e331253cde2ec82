"""How sparsely drives attend: SparF, for all layers or for each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from typing import Any

from partitioner.errors import WorkloadError

NEWEST_SHARE = 0.25
"""Share of the k tokens that goes to the newest ones. A choice of ours: InstInfer (arXiv 2409.04992) keeps newest tokens always
and gives no number."""


@dataclass(frozen=True)
class SparF:
    """Chooses flash-aware sparse attention: K of ``r`` channels, then K and V of ``k`` tokens, are read per KV head.

    Either ``num_channels`` and ``num_tokens`` are given, or ``compression`` (see :meth:`ratio`).

    Attributes:
        num_channels: r, the query's largest channels.
        num_tokens: k, the tokens kept, a quarter of them the newest ones. A context of k tokens or less is attended exactly.
        compression: Share by traffic; 8 stands for 1/8, which is r = d/8 and k = S/16 (SparQ).
    """

    num_channels: int | None = None
    num_tokens: int | None = None
    compression: float | None = None

    def __post_init__(self) -> None:
        if self.compression is not None:
            if self.num_channels is not None or self.num_tokens is not None:
                raise WorkloadError("SparF takes r and k, or a ratio, and not both; use SparF.ratio(8)")
            _require_ratio(self.compression)
            return
        for name, value in (("r", self.num_channels), ("k", self.num_tokens)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise WorkloadError(
                    f"SparF needs {name} as a whole number of at least 1, got {value!r}; SparF(16, 128) reads 16 channels and "
                    "128 tokens, SparF.ratio(8) one eighth"
                )

    @classmethod
    def ratio(cls, compression: float) -> SparF:
        """Returns SparF that reads one part in ``compression`` of what dense attention reads."""
        _require_ratio(compression)
        return cls(compression=float(compression))

    def channels(self, head_size: int) -> int:
        """Returns r for a head size d: d / compression, rounded, at least 1."""
        asked = self.num_channels
        if asked is None:
            assert self.compression is not None
            asked = max(1, round(head_size / self.compression))
        return min(asked, head_size)

    def tokens(self, context_len: int) -> int:
        """Returns k for a context of S tokens: S / (2 x compression), rounded up."""
        if self.num_tokens is not None:
            return self.num_tokens
        assert self.compression is not None
        return max(1, math.ceil(context_len / (2 * self.compression)))

    def newest(self, context_len: int) -> int:
        """Returns how many of the k tokens are the newest ones, at least 1."""
        return max(1, math.ceil(self.tokens(context_len) * NEWEST_SHARE))

    def entries_share(self, head_size: int, context_len: int) -> float:
        """Returns the share of K and V that is used: r of d channels of K, then k of S tokens of K and V; at most all."""
        if self.tokens(context_len) >= context_len:
            return 1.0
        channels = self.channels(head_size) / head_size
        return min(1.0, channels / 2 + self.tokens(context_len) / context_len)

    def __str__(self) -> str:
        if self.compression is not None:
            return f"SparF 1/{self.compression:g}"
        return f"SparF r={self.num_channels} k={self.num_tokens}"


Sparsity = SparF | tuple[SparF | None, ...] | None
"""Sparse attention on drives: for all layers, for each (None: exact), or nowhere."""


def checked_sparsity(value: Any) -> Sparsity:
    """Returns a sparsity, a sequence of layers as a tuple.

    Raises:
        WorkloadError: It is none.
    """
    if value is None or isinstance(value, SparF):
        return value
    if isinstance(value, Sequence) and not isinstance(value, str):
        layers = tuple(value)
        if layers and all(layer is None or isinstance(layer, SparF) for layer in layers):
            return layers if any(layers) else None
    raise WorkloadError(
        f"Workload.sparsity must be a SparF, one SparF or None for each layer, or None, got {value!r}; use SparF.ratio(8)"
    )


def sparsity_text(sparsity: Sparsity) -> str | None:
    """Returns a sparsity in words, layers that are alike and follow one another as one: ``2 x exact, 10 x SparF 1/8``."""
    if not isinstance(sparsity, tuple):
        return None if sparsity is None else str(sparsity)
    runs = ((layer, len(list(members))) for layer, members in groupby(sparsity))
    return ", ".join(f"{count} x {layer or 'exact'}" for layer, count in runs)


def sparsity_to_data(sparsity: Sparsity) -> Any:
    """Returns a sparsity in the form that :func:`sparsity_from_data` reads."""
    if isinstance(sparsity, tuple):
        return [sparsity_to_data(layer) for layer in sparsity]
    return None if sparsity is None else asdict(sparsity)


def sparsity_from_data(data: Any) -> Sparsity:
    """Builds a sparsity.

    Raises:
        WorkloadError: A field is unknown or not accepted.
    """
    return checked_sparsity([_layer(item) for item in data] if isinstance(data, list) else _layer(data))


def _layer(data: Any) -> SparF | None:
    if data is None:
        return None
    known = {field.name for field in fields(SparF)}
    if not isinstance(data, dict) or set(data) - known:
        raise WorkloadError(f"sparsity has the fields {sorted(known)}, got {data!r}")
    return SparF(**data)


def _require_ratio(compression: Any) -> None:
    number = isinstance(compression, int | float) and not isinstance(compression, bool)
    if not number or not 1 < compression < math.inf:
        raise WorkloadError(
            f"SparF.ratio needs a finite number above 1 (8 reads one eighth), got {compression!r}"
        )
