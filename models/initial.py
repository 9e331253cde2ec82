"""Random initial values of parameters, compiled once per shape so that deep models are built quickly."""

from functools import partial

import jax
from flax import nnx
from jax import numpy as jnp

EMBEDDING_STD = 0.02
"""Standard deviation of embedding rows, as in GPT-2 (Radford et al., 2019)."""


@partial(jax.jit, static_argnames=("in_size", "out_size", "dtype"))
def initial_kernel(key: jax.Array, in_size: int, out_size: int, dtype: str) -> jax.Array:
    """Returns a matrix [in_size, out_size] of variance ``1 / in_size``."""
    return nnx.initializers.lecun_normal()(key, (in_size, out_size), jnp.dtype(dtype))


@partial(jax.jit, static_argnames=("num_rows", "size", "dtype"))
def initial_table(key: jax.Array, num_rows: int, size: int, dtype: str) -> jax.Array:
    """Returns a table [num_rows, size] of standard deviation 0.02."""
    return nnx.initializers.normal(EMBEDDING_STD)(key, (num_rows, size), jnp.dtype(dtype))
