"""Normalisation of the last axis."""

import jax
from flax import nnx
from jax import lax
from jax import numpy as jnp


class LayerNorm(nnx.Module):
    """Centres and scales to unit variance, then applies a learned scale and bias; float32 inside.

    References:
        Ba, Kiros and Hinton, arXiv:1607.06450.
    """

    def __init__(self, size: int, *, eps: float, param_dtype: str) -> None:
        self.eps = eps
        self.scale = nnx.Param(jnp.ones((size,), jnp.dtype(param_dtype)))
        self.bias = nnx.Param(jnp.zeros((size,), jnp.dtype(param_dtype)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the normalised input: [..., size] to [..., size], dtype kept."""
        wide = x.astype(jnp.float32)
        centred = wide - jnp.mean(wide, axis=-1, keepdims=True)
        variance = jnp.mean(lax.square(centred), axis=-1, keepdims=True)
        normalised = centred * lax.rsqrt(variance + self.eps)
        scale, bias = self.scale[...].astype(jnp.float32), self.bias[...].astype(jnp.float32)
        return (normalised * scale + bias).astype(x.dtype)


class RMSNorm(nnx.Module):
    """Divides by the root mean square, then applies a learned scale; float32 inside.

    References:
        Zhang and Sennrich, arXiv:1910.07467.
    """

    def __init__(self, size: int, *, eps: float, param_dtype: str) -> None:
        self.eps = eps
        self.scale = nnx.Param(jnp.ones((size,), jnp.dtype(param_dtype)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Returns the normalised input: [..., size] to [..., size], dtype kept."""
        wide = x.astype(jnp.float32)
        mean_square = jnp.mean(lax.square(wide), axis=-1, keepdims=True)
        normalised = wide * lax.rsqrt(mean_square + self.eps)
        return (normalised * self.scale[...].astype(jnp.float32)).astype(x.dtype)
