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
    """Attention and feed-forward, each behind a norm and added to the residual stream."""

    def __init__(self, config: TransformerConfig, *, key: jax.Array) -> None:
        attention_key, mlp_key = jax.random.split(key)
        self.norm1 = make_norm(config)
        self.attention = Attention(config, key=attention_key)
        self.norm2 = make_norm(config)
        self.mlp = MLP(config, key=mlp_key)

    def __call__(
        self, x: jax.Array, cache: LayerCache, positions: jax.Array, angles: jax.Array | None
    ) -> tuple[jax.Array, LayerCache]:
        """Returns the next hidden states [batch, T, hidden_size] and the layer's cache."""
        attended, cache = self.attention(self.norm1(x), cache, positions, angles)
        x = x + attended
        return x + self.mlp(self.norm2(x)), cache
