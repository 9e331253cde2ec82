"""The decoder layer of ``spellings`` with what Flax's models and their users write."""

import jax
from flax import nnx
from jax import lax
from jax import numpy as jnp

from tests.partitioner.passes.spellings import SCALE, Spelling, plain_attend, updated, visible


def nnx_function(query, key, value, cache, positions, mask, params):
    """``nnx.dot_product_attention`` with a mask of truth values."""
    cache = updated(key, value, cache, positions)
    seen = nnx.combine_masks(visible(cache["k"].shape[1], positions), mask[:, None, None, :], dtype=bool)
    return nnx.dot_product_attention(query, cache["k"], cache["v"], mask=seen), cache


def nnx_function_biased(query, key, value, cache, positions, mask, params):
    """``nnx.dot_product_attention`` with a mask that is added."""
    cache = updated(key, value, cache, positions)
    bias = jnp.where(visible(cache["k"].shape[1], positions), 0.0, jnp.finfo(jnp.float32).min)
    return nnx.dot_product_attention(query, cache["k"], cache["v"], bias=bias), cache


def custom_derivatives(query, key, value, cache, positions, mask, params):
    """A softmax with a derivative of its own, in an attention with another."""

    @jax.custom_jvp
    def softmax(x):
        weights = jnp.exp(x - lax.stop_gradient(x.max(-1, keepdims=True)))
        return weights / weights.sum(-1, keepdims=True)

    softmax.defjvp(lambda given, tangents: (softmax(*given), softmax(*given) * tangents[0]))

    @jax.custom_vjp
    def attend(query, keys, values, seen):
        logits = jnp.where(seen, jnp.einsum("bthd,bshd->bhts", query, keys) * SCALE, -1e30)
        return jnp.einsum("bhts,bshd->bthd", softmax(logits), values)

    attend.defvjp(lambda *given: (attend(*given), given), lambda given, tangent: given)
    cache = updated(key, value, cache, positions)
    return attend(query, cache["k"], cache["v"], visible(cache["k"].shape[1], positions)), cache


def padded_on_the_left(query, key, value, cache, positions, mask, params):
    """One slot for all rows, counted by the cache; the mask says which slots before it hold tokens of a row."""
    here, chunk = cache["i"], query.shape[1]
    keys = lax.dynamic_update_slice(cache["k"], key, (0, here, 0, 0))
    values = lax.dynamic_update_slice(cache["v"], value, (0, here, 0, 0))
    causal = jnp.arange(keys.shape[1]) <= (here + jnp.arange(chunk))[:, None]
    seen = (causal & mask[:, None, :])[:, None]
    return plain_attend(query, keys, values, seen), {"k": keys, "v": values, "i": here + chunk}


FLAX_SPELLINGS = {
    s.attend.__name__: s
    for s in (
        Spelling(nnx_function),
        Spelling(nnx_function_biased),
        Spelling(custom_derivatives),
        Spelling(padded_on_the_left, cursor=True),
    )
}
"""Attention that is to be raised."""
