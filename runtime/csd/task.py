"""The shape of the KV cache that a drive holds, and how it falls into pages."""

from dataclasses import dataclass

import numpy as np

from runtime.csd.errors import DriveError

_DTYPES = ("float16", "bfloat16", "float32")


@dataclass(frozen=True)
class Task:
    """One configured KV cache.

    A page holds one *group*: ``group_tokens`` consecutive tokens of one head, of K or of V.

    Attributes:
        num_layers: Layers of the model.
        num_kv_heads: KV heads that this drive holds, of the layer that has most.
        num_query_heads: Query heads that attend to them.
        head_size: Elements of one head of one token.
        dtype: Element type of keys and values.
        batch_size: Sequences, of the layer that has most.
        max_len: Longest sequence, in tokens.
        page_bytes: Size of a flash page.
        layer_kv_heads: KV heads of each layer, ``num_kv_heads`` at most; empty where all have as many.
        layer_rows: Sequences of each layer, ``batch_size`` at most; empty where all have as many.
    """

    num_layers: int
    num_kv_heads: int
    num_query_heads: int
    head_size: int
    dtype: np.dtype
    batch_size: int
    max_len: int
    page_bytes: int
    layer_kv_heads: tuple[int, ...] = ()
    layer_rows: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        counts = (
            "num_layers", "num_kv_heads", "num_query_heads", "head_size", "batch_size", "max_len",
        )  # fmt: skip
        for name in counts:
            if getattr(self, name) < 1:
                raise DriveError(f"{name} is {getattr(self, name)}; configure at least 1")
        for name, most in (("layer_kv_heads", self.num_kv_heads), ("layer_rows", self.batch_size)):
            given = getattr(self, name)
            if given and (len(given) != self.num_layers or not 1 <= min(given) <= max(given) <= most):
                raise DriveError(
                    f"{name} is {list(given)}; give one number from 1 to {most} for each of {self.num_layers} layers"
                )
        if self.num_query_heads % self.num_kv_heads:
            raise DriveError(
                f"{self.num_query_heads} query heads do not share {self.num_kv_heads} KV heads evenly; "
                "give a multiple of the KV heads"
            )
        if self.dtype.name not in _DTYPES:
            raise DriveError(f"KV dtype {self.dtype.name} is not supported; use {', '.join(_DTYPES)}")
        if self.token_bytes > self.page_bytes:
            raise DriveError(
                f"one token of one head takes {self.token_bytes} bytes, a page has {self.page_bytes}; "
                "use larger pages or a smaller head"
            )

    @property
    def token_bytes(self) -> int:
        """Bytes of K (or of V) of one token and one head."""
        return self.head_size * self.dtype.itemsize

    @property
    def group_tokens(self) -> int:
        """Tokens in a page."""
        return self.page_bytes // self.token_bytes

    @property
    def groups_per_sequence(self) -> int:
        """Pages that K (or V) of one head of the longest sequence needs."""
        return -(-self.max_len // self.group_tokens)

    @property
    def queries_per_kv_head(self) -> int:
        """Query heads that share a KV head."""
        return self.num_query_heads // self.num_kv_heads

    def kv_heads(self, layer: int) -> int:
        """KV heads of a layer."""
        return self.layer_kv_heads[layer] if self.layer_kv_heads else self.num_kv_heads

    def query_heads(self, layer: int) -> int:
        """Query heads of a layer."""
        return self.kv_heads(layer) * self.queries_per_kv_head

    def rows(self, layer: int) -> int:
        """Sequences of a layer."""
        return self.layer_rows[layer] if self.layer_rows else self.batch_size

    @property
    def num_lanes(self) -> int:
        """Streams of consecutive tokens in the largest layer: sequences x KV heads x (K and V)."""
        return self.batch_size * self.num_kv_heads * 2

    @property
    def kv_bytes(self) -> int:
        """Bytes of the whole cache at ``max_len``."""
        return self._all_lanes * self.max_len * self.token_bytes

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the group buffer: one group for each layer and lane."""
        return self._all_lanes * self.group_tokens * self.token_bytes

    @property
    def _all_lanes(self) -> int:
        return sum(self.rows(layer) * self.kv_heads(layer) * 2 for layer in range(self.num_layers))
