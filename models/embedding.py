"""Tables of learned vectors, and the input embedding built of them."""

import jax
from flax import nnx
from jax import numpy as jnp

from models.config import TransformerConfig
from models.initial import initial_table
from models.linear import Linear


class Table(nnx.Module):
    """A table of learned vectors, looked up by row."""

    def __init__(self, num_rows: int, size: int, *, param_dtype: str, key: jax.Array) -> None:
        """Draws random rows.

        Args:
            num_rows: Rows of the table.
            size: Width of a row.
            param_dtype: Dtype of the table.
            key: Source of the random rows.
        """
        self.embedding = nnx.Param(initial_table(key, num_rows, size, param_dtype))

    def __call__(self, rows: jax.Array) -> jax.Array:
        """Returns the rows: int32[...] to [..., size]."""
        return jnp.take(self.embedding[...], rows, axis=0, mode="clip")

    def attend(self, x: jax.Array) -> jax.Array:
        """Returns the product with every row, as a tied output projection does.

        Args:
            x: [..., size].

        Returns:
            float32[..., num_rows].
        """
        table = self.embedding[...].astype(x.dtype)
        return jnp.einsum("...d,vd->...v", x, table, preferred_element_type=jnp.float32)


class InputEmbedding(nnx.Module):
    """Embeds tokens, and their positions where those are learned."""

    def __init__(self, config: TransformerConfig, *, key: jax.Array) -> None:
        self.compute_dtype = config.compute_dtype
        self.position_offset = config.position_offset
        token_key, position_key = jax.random.split(key)
        self.token = Table(
            config.vocab_size, config.token_size, param_dtype=config.param_dtype, key=token_key
        )
        self.project = _input_projection(config, jax.random.fold_in(token_key, 1))
        self.position = _position_table(config, position_key) if config.position == "learned" else None

    def __call__(self, tokens: jax.Array, positions: jax.Array) -> jax.Array:
        """Returns the first hidden states.

        Args:
            tokens: int32[batch, T].
            positions: int32[batch, T].

        Returns:
            [batch, T, hidden_size] in the compute dtype.
        """
        dtype = jnp.dtype(self.compute_dtype)
        x = self.token(tokens).astype(dtype)
        if self.project is not None:
            x = self.project(x)
        if self.position is not None:
            x = x + self.position(positions + self.position_offset).astype(dtype)
        return x


def _input_projection(config: TransformerConfig, key: jax.Array) -> Linear | None:
    if config.embed_size is None:
        return None
    return Linear(
        config.embed_size, config.hidden_size, use_bias=False, param_dtype=config.param_dtype, key=key
    )


def _position_table(config: TransformerConfig, key: jax.Array) -> Table:
    num_rows = config.max_position + config.position_offset
    return Table(num_rows, config.hidden_size, param_dtype=config.param_dtype, key=key)
