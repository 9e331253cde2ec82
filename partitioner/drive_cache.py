"""How K and V of one attention lie in a drive's flash: by token, and K by channel too where drives attend sparsely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from cost_models import (
    CHANNEL_GROUPS,
    TOKENS_PER_CLUSTER,
    FlashSpec,
    HardwareSpec,
    SparseReads,
    channel_pages,
    oldest_token,
    sparse_pages,
    tokens_per_page,
)
from partitioner.ir.op import Attention
from partitioner.jaxpr import itemsize
from partitioner.sparsity import SparF

WITH_SECOND_K = 1.5
"""Bytes programmed per byte of K and V where K is kept by token and by channel (InstInfer, arXiv 2409.04992)."""


@dataclass(frozen=True)
class DriveCache:
    """Counts the pages of one sequence and one KV head.

    Attributes:
        flash: Of the drive.
        head_size: d.
        element_bytes: Bytes of an element of K or V.
        sparsity: How the drive attends; None for exactly.
        channel_group: Channels in a page of the second copy of K; None where there is none.
        tokens_per_cluster: Wanted tokens that lie next to each other.
        window: Newest tokens that are attended to; None for all. Older ones are kept.
    """

    flash: FlashSpec
    head_size: int
    element_bytes: float
    sparsity: SparF | None = None
    channel_group: int | None = None
    tokens_per_cluster: float = TOKENS_PER_CLUSTER
    window: int | None = None

    @property
    def group_tokens(self) -> int:
        """Returns the tokens in a page."""
        return tokens_per_page(self.flash, self.head_size, self.element_bytes)

    def reads(self, context_len: int) -> SparseReads | None:
        """Returns what sparse attention wants at a context length; None where attention is exact."""
        if self.sparsity is None or self.channel_group is None:
            return None
        seen = context_len - oldest_token(context_len, self.window)
        wanted = self.sparsity.tokens(seen)
        if wanted >= seen:
            return None
        return SparseReads(
            num_channels=self.sparsity.channels(self.head_size),
            num_tokens=wanted,
            num_newest=self.sparsity.newest(seen),
            channel_group=self.channel_group,
            tokens_per_cluster=self.tokens_per_cluster,
        )

    def attend_pages(self, context_len: int) -> float:
        """Returns the pages that an attention reads; the tokens that do not fill a page are in drive memory."""
        reads = self.reads(context_len)
        if reads is None:
            first = oldest_token(context_len, self.window)
            return 2.0 * (context_len // self.group_tokens - first // self.group_tokens)
        return sparse_pages(
            self.flash,
            head_size=self.head_size,
            context_len=context_len,
            kv_bytes_per_element=self.element_bytes,
            reads=reads,
            window=self.window,
        ).total

    def written_pages(self, tokens: int) -> int:
        """Returns the pages programmed once ``tokens`` tokens are there: full ones alone."""
        return 2 * (tokens // self.group_tokens) + self._copy_pages(tokens)

    def held_pages(self, tokens: int) -> int:
        """Returns the pages to keep free for ``tokens`` tokens."""
        return 2 * math.ceil(tokens / self.group_tokens) + self._copy_pages(tokens)

    def memory_bytes(self, tokens: int, *, gathers: bool = True) -> float:
        """Returns the drive memory for ``tokens`` tokens: a page each of K and V that fills, 4 bytes a page, and sums of V.

        No page fills in it where tokens come a page at a time.
        """
        gathering = 2 * self.group_tokens * self.head_size * self.element_bytes if gathers else 0
        sums = 0 if self.channel_group is None else 4 * self.head_size
        return gathering + 4 * self.held_pages(tokens) + sums

    @property
    def copies(self) -> float:
        """Returns how often each byte of K and V is programmed in the long run."""
        return 1.0 if self.channel_group is None else WITH_SECOND_K

    def copies_of(self, tokens: int) -> float:
        """Returns how often each byte of the first ``tokens`` tokens is programmed: whole channel groups alone are copied."""
        if self.channel_group is None:
            return 1.0
        copied = self._copy_pages(tokens) * self.flash.page_bytes
        return 1.0 + copied / (2 * tokens * self.head_size * self.element_bytes)

    def _copy_pages(self, tokens: int) -> int:
        if self.channel_group is None:
            return 0
        return channel_pages(self.flash, self.head_size, self.element_bytes, self.channel_group, tokens)


@lru_cache(maxsize=1024)
def best_channel_group(
    flash: FlashSpec,
    head_size: int,
    element_bytes: float,
    sparsities: tuple[SparF, ...],
    contexts: tuple[tuple[int, float], ...],
    tokens_per_cluster: float = TOKENS_PER_CLUSTER,
) -> int | None:
    """Returns the channels per page with which a generation reads the fewest pages; None where no group divides the head.

    More channels in a page waste more of it; more tokens in a page wait longer until they are stored by channel, and are
    read by token meanwhile. All layers of a model share the choice.

    Args:
        flash: Of the drive.
        head_size: d.
        element_bytes: Bytes of an element of K.
        sparsities: How the drive attends in each layer.
        contexts: (context length, steps at about that length).
        tokens_per_cluster: Wanted tokens that lie next to each other.
    """

    def pages(channels: int) -> float:
        caches = [
            DriveCache(flash, head_size, element_bytes, sparsity, channels, tokens_per_cluster)
            for sparsity in sparsities
        ]
        return sum(steps * cache.attend_pages(context) for cache in caches for context, steps in contexts)

    fitting = [c for c in CHANNEL_GROUPS if head_size % c == 0 and flash.page_bytes >= c * element_bytes]
    return min(fitting, key=lambda c: (pages(c), c), default=None)


def drive_cache_of(
    attention: Attention,
    hw: HardwareSpec,
    sparsities: tuple[SparF, ...],
    contexts: tuple[tuple[int, float], ...],
) -> DriveCache:
    """Returns how an attention's cache lies in a drive.

    Args:
        attention: The attention, with its sparsity.
        hw: Hardware with drives.
        sparsities: Of all attentions that choose how many channels share a page.
        contexts: (context length, steps at about that length) they choose it for.
    """
    flash, size = hw.drives[0].flash, itemsize(attention.cache_dtype)
    if attention.sparsity is None or attention.source is not None:
        return DriveCache(flash, attention.head_size, size, window=attention.window)
    cluster = TOKENS_PER_CLUSTER if hw.software is None else hw.software.tokens_per_cluster
    group = best_channel_group(flash, attention.head_size, size, sparsities, contexts, cluster)
    return DriveCache(flash, attention.head_size, size, attention.sparsity, group, cluster, attention.window)
