"""One layer of the transformer."""

import jax
from flax import nnx

from models.attention import Attention
from models.cache import LayerCache
from models.config import TransformerConfig
from models.mlp import MLP
from models.norm import LayerNorm, RMSNorm


def make_norm(config: TransformerConfig) -> LayerNorm | RMSNorm:
    """Returns the norm of the residual stream that the configuration asks for."""
    kind = LayerNorm if config.norm == "layernorm" else RMSNorm
    return kind(config.hidden_size, eps=config.norm_eps, param_dtype=config.param_dtype)


class Block(nnx.Module):
    """Attention and feed-forward, each added to the residual stream, which is normalised before or after."""

    def __init__(self, config: TransformerConfig, *, layer: int, key: jax.Array) -> None:
        self.is_pre_norm = config.norm_position == "pre"
        attention_key, mlp_key = jax.random.split(key)
        self.norm1 = make_norm(config)
        self.attention = Attention(config, window=config.window_of(layer), key=attention_key)
        self.norm2 = make_norm(config)
        self.mlp = MLP(config, key=mlp_key)

    def __call__(
        self, x: jax.Array, cache: LayerCache, positions: jax.Array, angles: jax.Array | None
    ) -> tuple[jax.Array, LayerCache]:
        """Returns the next hidden states [batch, T, hidden_size] and the layer's cache."""
        attended, cache = self.attention(self.attention_input(x), cache, positions, angles)
        return self.finish(x, attended), cache

    def attention_input(self, x: jax.Array) -> jax.Array:
        """Returns what the attention projects, from hidden states [batch, T, hidden_size]."""
        return self.norm1(x) if self.is_pre_norm else x

    def finish(self, x: jax.Array, attended: jax.Array) -> jax.Array:
        """Returns the next hidden states, from hidden states and the attention's output [batch, T, hidden_size]."""
        if self.is_pre_norm:
            x = x + attended
            return x + self.mlp(self.norm2(x))
        x = self.norm1(x + attended)
        return self.norm2(x + self.mlp(x))
