"""The forward pass for training: no cache, fused attention, dropout.

Parameters and result are those of the model.
"""

from typing import Literal

import jax
from jax import numpy as jnp

from models.errors import ConfigError
from models.rotary import rotary_angles
from models.transformer import Transformer

AttentionKernel = Literal["cudnn", "xla"]


def fastest_attention_kernel() -> AttentionKernel:
    """Returns ``cudnn`` where its fused attention runs forwards and backwards, else ``xla``."""
    if jax.default_backend() != "gpu":
        return "xla"
    probe = jnp.ones((1, 128, 1, 64), jnp.bfloat16)

    def total(query: jax.Array) -> jax.Array:
        attended = jax.nn.dot_product_attention(query, probe, probe, is_causal=True, implementation="cudnn")
        return attended.astype(jnp.float32).sum()

    try:
        jax.block_until_ready(jax.grad(total)(probe))
    except Exception:  # any failure of the vendor's library means the same: take the other kernel
        return "xla"
    return "cudnn"


def training_logits(
    model: Transformer,
    tokens: jax.Array,
    *,
    kernel: AttentionKernel,
    dropout: float = 0.0,
    key: jax.Array | None = None,
) -> jax.Array:
    """Returns the logits of rows that start at position 0.

    Args:
        model: Gives parameters and compute dtype.
        tokens: int32[batch, T].
        kernel: Implementation of the attention.
        dropout: Share of the residual updates that is dropped.
        key: Source of the dropout; needed if ``dropout`` is not zero.

    Returns:
        float32[batch, T, vocab_size].

    Raises:
        ConfigError: If the model normalises after its layers, or attends within a window.
    """
    config = model.config
    if config.norm_position != "pre" or config.window is not None:
        raise ConfigError(
            f"{config.name} has {config.norm_position}-norm layers and window {config.window}; only pre-norm models "
            "without a window can be trained"
        )
    batch, length = tokens.shape
    positions = jnp.broadcast_to(jnp.arange(length), (batch, length))
    angles = rotary_angles(config, positions) if config.position == "rotary" else None
    keys = [None] * (2 * len(model.blocks)) if key is None else jax.random.split(key, 2 * len(model.blocks))
    x = model.embed(tokens, positions)
    for index, block in enumerate(model.blocks):
        query, new_key, value = block.attention.project(block.norm1(x), angles)
        attended = jax.nn.dot_product_attention(query, new_key, value, is_causal=True, implementation=kernel)
        update = block.attention.out(attended.reshape(batch, length, -1))
        x = x + _drop(update, dropout, keys[2 * index])
        x = x + _drop(block.mlp(block.norm2(x)), dropout, keys[2 * index + 1])
    return model.unembed(x)


def _drop(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    if rate == 0.0 or key is None:
        return x
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0).astype(x.dtype)
