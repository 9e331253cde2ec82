"""Rotary positions.

Pairs are formed of the first and the second half of a head, the layout of Hugging Face checkpoints.

References:
    Su et al., "RoFormer", arXiv:2104.09864.
"""

import jax
import numpy as np
from jax import numpy as jnp

from models.config import TransformerConfig


def rotary_angles(config: TransformerConfig, positions: jax.Array) -> jax.Array:
    """Returns the angle of every pair at every position, in radians.

    Args:
        config: Gives head size, base and scaling.
        positions: int32[batch, T].

    Returns:
        float32[batch, T, head_size / 2].
    """
    exponents = np.arange(0, config.head_size, 2, dtype=np.float64) / config.head_size
    frequencies = config.rope_theta**-exponents
    if config.rope_scaling is not None:
        frequencies = config.rope_scaling.scale(frequencies)
    return positions[..., None].astype(jnp.float32) * frequencies.astype(np.float32)


def rotate(x: jax.Array, angles: jax.Array) -> jax.Array:
    """Rotates every pair of every head by its angle; float32 inside.

    Args:
        x: [batch, T, heads, head_size].
        angles: float32[batch, T, head_size / 2].

    Returns:
        [batch, T, heads, head_size] in the dtype of ``x``.
    """
    cos, sin = jnp.cos(angles)[:, :, None, :], jnp.sin(angles)[:, :, None, :]
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    rotated = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return rotated.astype(x.dtype)
