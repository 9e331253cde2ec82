"""A dense projection."""

import jax
from flax import nnx
from jax import numpy as jnp

from models.initial import initial_kernel


class Linear(nnx.Module):
    """Multiplies the last axis by a kernel, with an optional bias.

    Sums are float32; the result has the dtype of the input.
    """

    def __init__(
        self, in_size: int, out_size: int, *, use_bias: bool, param_dtype: str, key: jax.Array
    ) -> None:
        """Draws a kernel of variance ``1 / in_size`` and a zero bias.

        Args:
            in_size: Width of the input.
            out_size: Width of the output.
            use_bias: Whether there is a bias.
            param_dtype: Dtype of kernel and bias.
            key: Source of the random kernel.
        """
        dtype = jnp.dtype(param_dtype)
        self.kernel = nnx.Param(initial_kernel(key, in_size, out_size, param_dtype))
        self.bias = nnx.Param(jnp.zeros((out_size,), dtype)) if use_bias else None

    def __call__(self, x: jax.Array, out_dtype: jax.typing.DTypeLike | None = None) -> jax.Array:
        """Returns ``x @ kernel + bias``.

        Args:
            x: [..., in_size].
            out_dtype: Dtype of the result; that of ``x`` by default.

        Returns:
            [..., out_size].
        """
        kernel = self.kernel[...].astype(x.dtype)
        y = jnp.matmul(x, kernel, preferred_element_type=jnp.float32)
        if self.bias is not None:
            y = y + self.bias[...].astype(jnp.float32)
        return y.astype(out_dtype or x.dtype)
