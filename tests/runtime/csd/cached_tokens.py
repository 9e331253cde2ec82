"""A drive with one layer of random tokens, and what it was given."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from runtime.csd import Configure, Drive, Sparse, Write
from runtime.csd.sparse_engine import SparselyAttended, attend_sparsely
from runtime.kernels.softmax import NO_SLOPES

from .drives import SPEC, new_drive, tokens


@dataclass
class Cache:
    """A drive with one layer, and what was written to it: [n, K, T, D] each."""

    drive: Drive
    key: np.ndarray
    value: np.ndarray

    def choose(
        self,
        sparse: Sparse,
        query: np.ndarray,
        first: np.ndarray,
        last: np.ndarray,
        soft_cap: float | None,
        scale: float = 0.4,
        slopes: np.ndarray = NO_SLOPES,
    ) -> SparselyAttended:
        """Runs the sparse engine by itself, which says what it chose."""
        store = self.drive._tasks.store(0)
        assert store is not None
        return attend_sparsely(
            store, self.drive._nand, sparse, layer=0, rows=np.arange(len(query)), query=query, scale=scale,
            first=first, last=last, soft_cap=soft_cap, slopes=slopes,
        )  # fmt: skip


def cached(
    rng: np.random.Generator, dtype: np.dtype, lengths: np.ndarray, kv_heads: int, shared: int, head_size: int,
    channel_group: int | None = 2, drive_spec: Any = SPEC, integers: bool = False,
) -> Cache:  # fmt: skip
    """Writes sequences; what lies behind their lengths is NaN in the reference's arrays."""
    drive, count, longest = new_drive(drive_spec), len(lengths), int(lengths.max())
    drive.execute(
        Configure(
            1, kv_heads, kv_heads * shared, head_size, dtype, count, longest, channel_group=channel_group
        ),
        0.0,
    )
    shape = (count, kv_heads, longest, head_size)
    key, value = (
        rng.integers(-2, 3, shape).astype(dtype) if integers else tokens(rng, *shape, dtype=dtype)
        for _ in range(2)
    )
    drive.execute(Write(0, key, value, np.zeros(count, np.int32), lengths), 0.0)
    return Cache(drive, key, value)
