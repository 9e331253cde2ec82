"""Random layers, and attention of one query to chosen tokens in float64."""

import numpy as np
from jax import numpy as jnp

from models.accuracy.decode_layer import DecodeLayer


def random_layer(
    seed: int, *, rows: int = 2, kv_heads: int = 2, shared: int = 1, prompt: int = 40, later: int = 9,
    head_size: int = 8, dtype: str = "float16",
) -> DecodeLayer:  # fmt: skip
    rng = np.random.default_rng(seed)

    def draw(*shape: int) -> np.ndarray:
        return rng.normal(0.0, 1.5, shape).astype(np.float32)

    tokens = prompt + later
    return DecodeLayer(
        jnp.asarray(draw(rows, kv_heads, shared, later, head_size)),
        jnp.asarray(draw(rows, kv_heads, tokens, head_size), dtype),
        jnp.asarray(draw(rows, kv_heads, tokens, head_size), dtype),
        jnp.asarray(draw(rows, kv_heads, shared, prompt, head_size)),
    )


def weights_over(query: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Softmax of ``q.K / sqrt(D)``: queries [G, D] over keys [n, D]."""
    scores = query.astype(np.float64) @ keys.astype(np.float64).T / query.shape[-1] ** 0.5
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
