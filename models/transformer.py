"""The decoder-only transformer."""

from pathlib import Path

import jax
from flax import nnx
from jax import numpy as jnp

from models.block import Block, make_norm
from models.cache import LayerCache, empty_cache
from models.config import TransformerConfig
from models.embedding import InputEmbedding
from models.linear import Linear
from models.rotary import rotary_angles
from models.tokenizer import Tokenizer


class Transformer(nnx.Module):
    """A decoder-only transformer with an explicit KV cache.

    One call serves both phases: T tokens per row for prefill, one for decode.

    Attributes:
        config: What was built.
        tokenizer: The tokenizer of the checkpoint it was loaded from, or None.
        sensitivities: The file beside the checkpoint that says what sparse attention costs each layer, or None.
    """

    def __init__(self, config: TransformerConfig, *, rngs: nnx.Rngs) -> None:
        """Draws random parameters.

        Args:
            config: What to build.
            rngs: Source of the random parameters.
        """
        self.config = config
        self.tokenizer: Tokenizer | None = None
        self.sensitivities: Path | None = None
        embed_key, head_key, *block_keys = jax.random.split(rngs.params(), 2 + config.num_layers)
        self.embed = InputEmbedding(config, key=embed_key)
        self.blocks = nnx.List([Block(config, layer=layer, key=key) for layer, key in enumerate(block_keys)])
        self.norm = make_norm(config) if config.final_norm else None
        self.project = _embedding_projection(config, jax.random.fold_in(head_key, 1))
        self.lm_head = None if config.tied_embedding else _output_projection(config, head_key)

    def init_cache(
        self, batch_size: int, max_len: int, dtype: jax.typing.DTypeLike | None = None
    ) -> list[LayerCache]:
        """Returns an empty cache.

        Args:
            batch_size: Rows.
            max_len: Slots per row; every position handed to the model must stay below it.
            dtype: Dtype of keys and values; ``config.kv_dtype`` by default.

        Returns:
            Per layer ``key`` and ``value``, each [batch_size, num_kv_heads, max_len, head_size].
        """
        return empty_cache(self.config, batch_size, max_len, dtype)

    def __call__(
        self,
        tokens: jax.Array,
        cache: list[LayerCache],
        positions: jax.Array,
        *,
        logits_at: jax.Array | None = None,
    ) -> tuple[jax.Array, list[LayerCache]]:
        """Appends tokens to the cache and returns the logits of what follows them.

        A token at position p sees exactly the slots 0 to p of its row, or the last ``window`` of them. Rows of
        unequal length are padded on the right: padding is not seen by the tokens before it, and the slots it
        wrote are overwritten by later tokens before any of them is seen.

        Args:
            tokens: int32[batch, T].
            cache: As ``init_cache`` made it or the last call returned it.
            positions: int32[batch, T], contiguous: ``positions[b, t] == positions[b, 0] + t``, all below the
                number of slots (a write beyond the last slot would be moved back over earlier ones).
            logits_at: int32[batch], the index along T whose logits are wanted in each row; None for all.

        Returns:
            Logits, float32[batch, T, vocab_size], or float32[batch, 1, vocab_size] with ``logits_at``, and
            the cache.
        """
        angles = rotary_angles(self.config, positions) if self.config.position == "rotary" else None
        x = self.embed(tokens, positions)
        new_cache: list[LayerCache] = []
        for block, layer_cache in zip(self.blocks, cache, strict=True):
            x, updated = block(x, layer_cache, positions, angles)
            new_cache.append(updated)
        if logits_at is not None:
            x = jnp.take_along_axis(x, logits_at[:, None, None], axis=1)
        return self.unembed(x), new_cache

    def unembed(self, x: jax.Array) -> jax.Array:
        """Returns the logits of hidden states: [batch, T, hidden_size] to float32[batch, T, vocab_size]."""
        if self.norm is not None:
            x = self.norm(x)
        if self.project is not None:
            x = self.project(x)
        if self.lm_head is None:
            return self.embed.token.attend(x)
        return self.lm_head(x, out_dtype=jnp.float32)


def _embedding_projection(config: TransformerConfig, key: jax.Array) -> Linear | None:
    """Returns the projection from the residual stream to the width of the token embedding, if they differ."""
    if config.embed_size is None:
        return None
    return Linear(
        config.hidden_size, config.embed_size, use_bias=False, param_dtype=config.param_dtype, key=key
    )


def _output_projection(config: TransformerConfig, key: jax.Array) -> Linear:
    return Linear(
        config.token_size, config.vocab_size, use_bias=False, param_dtype=config.param_dtype, key=key
    )
