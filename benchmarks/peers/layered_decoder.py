"""The decoder as plain functions, a layer at a time, so that a user can fetch each layer's cache in between."""

from __future__ import annotations

from typing import Any

import jax
from flax import nnx
from jax import lax
from jax import numpy as jnp

from models import Transformer
from models.rotary import rotary_angles


class LayeredDecoder:
    """Jitted functions over the weights of a model.

    Attributes:
        num_layers: Layers.
        layer_bytes: Bytes of the weights of one layer.
        layer_params: Weights of one layer.
    """

    def __init__(self, model: Transformer) -> None:
        config = model.config
        self.num_layers = config.num_layers
        self._graph, _ = nnx.split(model.blocks[0])
        self._weights = [nnx.split(block)[1] for block in model.blocks]
        leaves = jax.tree.leaves(self._weights[0])
        self.layer_bytes = sum(leaf.nbytes for leaf in leaves)
        self.layer_params = sum(leaf.size for leaf in leaves)
        embed_graph, self._embed_weights = nnx.split(model.embed)
        whole_graph, self._whole_weights = nnx.split(model)

        def layer(weights: Any, x: jax.Array, kv: jax.Array, positions: jax.Array) -> tuple[Any, Any]:
            block = nnx.merge(self._graph, weights)
            angles = rotary_angles(config, positions) if config.position == "rotary" else None
            x, cache = block(x, {"key": kv[0], "value": kv[1]}, positions, angles)
            both = jnp.stack([cache["key"], cache["value"]])
            return x, lax.dynamic_slice_in_dim(both, positions[0, 0], positions.shape[1], axis=3)

        def next_tokens(weights: Any, x: jax.Array) -> jax.Array:
            logits = nnx.merge(whole_graph, weights).unembed(x[:, -1:])
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)

        self._embed = jax.jit(lambda weights, *args: nnx.merge(embed_graph, weights)(*args))
        self._layer = jax.jit(layer)
        self._next_tokens = jax.jit(next_tokens)

    def embed(self, tokens: jax.Array, positions: jax.Array) -> jax.Array:
        """Returns the first hidden states of int32[batch, T] tokens."""
        return self._embed(self._embed_weights, tokens, positions)

    def layer(
        self, index: int, x: jax.Array, kv: jax.Array, positions: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the next hidden states, and keys and values of the new tokens: [2, batch, kv_heads, T, head_size]."""
        return self._layer(self._weights[index], x, kv, positions)

    def next_tokens(self, x: jax.Array) -> jax.Array:
        """Returns int32[batch, 1], the likeliest tokens after the last ones."""
        return self._next_tokens(self._whole_weights, x)
