"""Which flash pages of one KV head an attention reads.

References:
    InstInfer, arXiv:2409.04992, section 4.
"""

from dataclasses import dataclass

import jax
from jax import numpy as jnp


@dataclass(frozen=True)
class PageShape:
    """How K and V of one KV head lie in flash pages.

    Attributes:
        group_tokens: Tokens of K, or of V, in a page.
        channel_group: Channels in a page of the second copy of K.
        channel_tokens: Tokens in such a page; a multiple of ``group_tokens``.
    """

    group_tokens: int
    channel_group: int
    channel_tokens: int

    @classmethod
    def of(cls, page_bytes: int, head_size: int, element_bytes: int, channel_group: int) -> "PageShape":
        """Returns the shape for pages of some bytes."""
        return cls(
            page_bytes // (head_size * element_bytes),
            channel_group,
            page_bytes // (channel_group * element_bytes),
        )

    def dense(self, context_lens: jax.Array) -> jax.Array:
        """Returns the pages of K and V of one KV head; tokens that fill no page are in the drive's memory."""
        return 2 * (context_lens // self.group_tokens)

    def count(self, channels: jax.Array, tokens: jax.Array, context_lens: jax.Array) -> jax.Array:
        """Returns the pages that are read, summed over KV heads: float32 ``[B, C]``.

        Step one reads pages with a wanted channel, and whole keys of tokens that fill no channel page yet. Step two reads pages
        with a wanted token, except those that step one has read.

        Args:
            channels: bool ``[B, K, C, D]``, wanted.
            tokens: bool ``[B, K, C, S]``, wanted.
            context_lens: int32 ``[C]``.
        """
        *front, head_size = channels.shape
        copied = context_lens // self.channel_tokens
        in_flash = context_lens // self.group_tokens
        touched = channels.reshape(*front, head_size // self.channel_group, self.channel_group).any(axis=-1)
        by_channel = touched.sum(axis=-1) * copied
        groups_copied = copied * (self.channel_tokens // self.group_tokens)
        tail = in_flash - groups_copied
        padding = -tokens.shape[-1] % self.group_tokens
        groups = jnp.pad(tokens, [(0, 0)] * 3 + [(0, padding)])
        groups = groups.reshape(*front, -1, self.group_tokens).any(axis=-1)
        place = jnp.arange(groups.shape[-1])
        values = (groups & (place < in_flash[:, None])).sum(axis=-1)
        keys = (groups & (place < groups_copied[:, None])).sum(axis=-1)
        return (by_channel + tail + values + keys).sum(axis=1).astype(jnp.float32)
