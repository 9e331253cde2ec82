"""The feed-forward layer."""

import jax
from flax import nnx

from models.config import TransformerConfig
from models.linear import Linear


class MLP(nnx.Module):
    """``down(relu(up(x)))``, or ``down(silu(gate(x)) * up(x))`` for SwiGLU.

    References:
        Shazeer, "GLU Variants Improve Transformer", arXiv:2002.05202.
    """

    def __init__(self, config: TransformerConfig, *, key: jax.Array) -> None:
        hidden, ffn = config.hidden_size, config.ffn_size
        bias, dtype = config.mlp_bias, config.param_dtype
        up_key, gate_key, down_key = jax.random.split(key, 3)
        self.up = Linear(hidden, ffn, use_bias=bias, param_dtype=dtype, key=up_key)
        self.gate = (
            Linear(hidden, ffn, use_bias=bias, param_dtype=dtype, key=gate_key)
            if config.activation == "swiglu"
            else None
        )
        self.down = Linear(ffn, hidden, use_bias=bias, param_dtype=dtype, key=down_key)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the transformed input: [batch, T, hidden_size] to the same."""
        if self.gate is None:
            return self.down(jax.nn.relu(self.up(x)))
        return self.down(jax.nn.silu(self.gate(x)) * self.up(x))
