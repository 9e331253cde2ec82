"""Decoders of one layer whose K and V are made in ways of one's own."""

from collections.abc import Callable
from typing import Any

import jax
from jax import numpy as jnp

from partitioner.frontend import StepFunction, from_step
from tests.partitioner.small_models import HEAD_SIZE, HEADS, HIDDEN, plain_cache, plain_params

__all__ = ["HIDDEN", "kv_decoder"]

Project = Callable[[Any, jax.Array], tuple[jax.Array, jax.Array, jax.Array]]
"""From weights and ``[batch, tokens, hidden]`` to q, k and v of the same shape."""


def kv_decoder(project: Project, *, prefill_project: Project | None = None) -> StepFunction:
    """Returns the decoder, which makes K and V of a prompt in another way if that is given."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        x = params["embed"][tokens]
        many = tokens.shape[1] > 1
        chosen = prefill_project if many and prefill_project else project
        heads = (*tokens.shape, HEADS, HEAD_SIZE)
        query, key, value = (a.reshape(heads) for a in chosen(params, x))
        append = jax.vmap(lambda row, new, start: jax.lax.dynamic_update_slice(row, new, (start, 0, 0)))
        keys = append(cache["keys"], key, positions[:, 0])
        values = append(cache["values"], value, positions[:, 0])
        logits = jnp.einsum("bthd,bshd->bhts", query, keys) * HEAD_SIZE**-0.5
        causal = jnp.arange(keys.shape[1])[None, None, :] <= positions[:, :, None]
        visible = (causal & mask[:, None, :])[:, None]
        weights = jax.nn.softmax(jnp.where(visible, logits, -jnp.inf), axis=-1)
        attended = jnp.einsum("bhts,bshd->bthd", weights, values).reshape(x.shape)
        return (x + attended @ params["out"]) @ params["head"], {"keys": keys, "values": values}

    return from_step(step, params=plain_params(), init_cache=plain_cache, name="kv decoder")


def plain_project(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Projects as usual."""
    return x @ params["query"], x @ params["key"], x @ params["value"]
