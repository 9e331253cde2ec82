"""The shape of the KV cache that a drive holds, and how it falls into pages."""

from dataclasses import dataclass

import numpy as np

from runtime.csd.errors import DriveError

_DTYPES = ("float16", "bfloat16", "float32")
_CHANNEL_GROUPS = (2, 4, 8)
_ENTRY_BYTES = 4  # a page number of a drive of up to 2**32 pages, 17.6 TB in pages of 4 KiB


@dataclass(frozen=True)
class Task:
    """One configured KV cache.

    A *token page* holds one *group*: ``group_tokens`` consecutive tokens of one head, of K or of V. With
    ``channel_group``, K is kept a second time, in all layers or in some: a *channel page* holds that many head channels of
    ``channel_tokens`` consecutive tokens of one head, channel after channel, the tokens of each side by side.
    A *channel group* is the ``channel_pages`` channel pages with all channels of those tokens.

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
        channel_group: Head channels in a channel page: 2, 4 or 8; None: K is kept by token only.
        layer_by_channel: Whether each layer has channel pages; empty where all have, if there is a ``channel_group``.
        layer_gathers: Whether each layer takes in tokens that do not fill a page; empty where all do.
        number: The task's number.
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
    channel_group: int | None = None
    layer_by_channel: tuple[bool, ...] = ()
    layer_gathers: tuple[bool, ...] = ()
    number: int = 0

    def __post_init__(self) -> None:
        if self.number < 0:
            raise DriveError(f"task is {self.number}; give a number of at least 0")
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
        if self.channel_group is not None and (
            self.channel_group not in _CHANNEL_GROUPS or self.head_size % self.channel_group
        ):
            raise DriveError(
                f"channel_group is {self.channel_group} and a head has {self.head_size} channels; give 2, 4 or 8, "
                "whichever divides the head, or None to keep K by token only"
            )
        if self.layer_by_channel and (
            len(self.layer_by_channel) != self.num_layers or self.channel_group is None
        ):
            raise DriveError(
                f"layer_by_channel is {list(self.layer_by_channel)} and channel_group is {self.channel_group}; give one truth "
                f"value for each of {self.num_layers} layers along with a channel_group, or None for all layers alike"
            )

        if self.layer_gathers and len(self.layer_gathers) != self.num_layers:
            raise DriveError(
                f"layer_gathers is {list(self.layer_gathers)}; give one truth value for each of {self.num_layers} layers, or "
                "None where all take in single tokens"
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
    def channel_tokens(self) -> int:
        """Tokens in a channel page.

        Raises:
            DriveError: K is kept by token only.
        """
        if self.channel_group is None:
            raise DriveError("K is kept by token only; configure a channel_group to have channel pages")
        return self.page_bytes // self.dtype.itemsize // self.channel_group

    @property
    def channel_pages(self) -> int:
        """Channel pages with all channels of a head, in layers that have any; 0 where K is kept by token only."""
        return 0 if self.channel_group is None else self.head_size // self.channel_group

    def keeps_channels(self, layer: int) -> bool:
        """Whether a layer keeps K by channel, too."""
        return self.layer_by_channel[layer] if self.layer_by_channel else self.channel_group is not None

    def gathers(self, layer: int) -> bool:
        """Whether a layer takes in tokens that do not fill a page, and has a group buffer for them."""
        return self.layer_gathers[layer] if self.layer_gathers else True

    @property
    def channel_groups_per_sequence(self) -> int:
        """Whole channel groups of one head of the longest sequence; 0 where K is kept by token only."""
        return 0 if self.channel_group is None else self.max_len // self.channel_tokens

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
        """Bytes of the whole cache at ``max_len``: K and V by token, and the channel groups of K."""
        by_channel = self.channel_groups_per_sequence * self.channel_tokens if self._copied_heads else 0
        tokens = self._all_heads * 2 * self.max_len + self._copied_heads * by_channel
        return tokens * self.token_bytes

    def copies(self, layer: int) -> float:
        """Bytes kept for each byte of K and V that comes to a layer: 1.5 where it keeps K by channel too, else 1."""
        return 1.5 if self.keeps_channels(layer) else 1.0

    @property
    def buffer_bytes(self) -> int:
        """Bytes of the group buffer: one group for each lane of the layers that gather tokens."""
        gathering = filter(self.gathers, range(self.num_layers))
        heads = sum(self.rows(layer) * self.kv_heads(layer) for layer in gathering)
        return heads * 2 * self.group_tokens * self.token_bytes

    @property
    def mapping_bytes(self) -> int:
        """Bytes of both mapping tables at ``max_len``, 4 for each page."""
        token_pages = self._all_heads * 2 * self.groups_per_sequence
        channel_pages = self._copied_heads * self.channel_pages * self.channel_groups_per_sequence
        return (token_pages + channel_pages) * _ENTRY_BYTES

    @property
    def value_sum_bytes(self) -> int:
        """Bytes of the sums of V, float32 for each sequence, KV head and channel of the layers that keep K by channel."""
        return self._copied_heads * self.head_size * 4

    @property
    def dram_bytes(self) -> int:
        """Bytes of drive memory: group buffer, mapping tables and sums of V."""
        return self.buffer_bytes + self.mapping_bytes + self.value_sum_bytes

    @property
    def _all_heads(self) -> int:
        """KV heads of all sequences and layers."""
        return sum(self.rows(layer) * self.kv_heads(layer) for layer in range(self.num_layers))

    @property
    def _copied_heads(self) -> int:
        """Those of the layers that keep K by channel, too."""
        copied = filter(self.keeps_channels, range(self.num_layers))
        return sum(self.rows(layer) * self.kv_heads(layer) for layer in copied)
