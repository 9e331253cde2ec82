"""One decoder layer whose attention is spelled in many ways, and in ways that only look like attention."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from partitioner.frontend import StepFunction, from_step

BATCH, HEADS, KV_HEADS, HEAD_SIZE, VOCAB = 2, 6, 2, 8, 32
GROUP = HEADS // KV_HEADS
HIDDEN = HEADS * HEAD_SIZE
SCALE = HEAD_SIZE**-0.5

Cache = dict[str, Any]
Attend = Callable[..., tuple[Any, Cache]]


def decoder(
    attend: Attend,
    *,
    kv_heads: int = HEADS,
    heads_first: bool = False,
    cursor: bool = False,
    dtype: str = "float32",
    names: tuple[str, ...] = ("k", "v"),
) -> StepFunction:
    """Returns a one-layer decoder around ``attend(query, key, value, cache, positions, mask, params) -> (out, cache)``.

    Args:
        attend: The attention under test; query float[batch, 1, heads, d], key and value float[batch, 1, kv_heads, d].
        kv_heads: KV heads.
        heads_first: Whether the cache is [batch, kv_heads, slots, d] rather than [batch, slots, kv_heads, d].
        cursor: Whether the cache counts its own position in a scalar ``i``.
        dtype: Dtype of the cache.
        names: Names of the caches.
    """
    kv_size = kv_heads * HEAD_SIZE
    shapes = {"embed": (VOCAB, HIDDEN), "q": (HIDDEN, HIDDEN), "k": (HIDDEN, kv_size), "v": (HIDDEN, kv_size)}
    shapes |= {"o": (HIDDEN, HIDDEN), "head": (HIDDEN, VOCAB), "slopes": (HEADS,)}

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        x = params["embed"][tokens]
        rows, chunk = tokens.shape
        query = (x @ params["q"]).reshape(rows, chunk, HEADS, HEAD_SIZE)
        key = (x @ params["k"]).reshape(rows, chunk, kv_heads, HEAD_SIZE)
        value = (x @ params["v"]).reshape(rows, chunk, kv_heads, HEAD_SIZE)
        out, cache = attend(query, key, value, cache, positions, mask, params)
        return (x + out.reshape(rows, chunk, HIDDEN) @ params["o"]) @ params["head"], cache

    def init_cache(rows: int, slots: int) -> Cache:
        shape = (rows, kv_heads, slots, HEAD_SIZE) if heads_first else (rows, slots, kv_heads, HEAD_SIZE)
        cache: Cache = {name: jnp.zeros(shape, dtype) for name in names}
        return cache | ({"i": jnp.zeros((), jnp.int32)} if cursor else {})

    params = {n: jax.ShapeDtypeStruct(s, jnp.float32) for n, s in shapes.items()}
    return from_step(step, params=params, init_cache=init_cache, max_chunk=1, name=attend.__name__)


def append_rows(cache: Any, new: Any, positions: Any, axis: int = 1) -> Any:
    """Writes [batch, 1, heads, d] at each row's own position with a vmapped dynamic_update_slice."""
    starts = [(positions[:, 0] if a == axis else jnp.zeros_like(positions[:, 0])) for a in (1, 2, 3)]
    rows = new if axis == 1 else new.swapaxes(1, 2)
    return jax.vmap(lambda row, update, *at: lax.dynamic_update_slice(row, update, at))(
        cache, rows.astype(cache.dtype), *starts
    )


def visible(cache_len: int, positions: Any) -> Any:
    """Returns bool[batch, 1, 1, slots]."""
    return (jnp.arange(cache_len) <= positions)[:, None, None, :]


def plain_attend(query: Any, keys: Any, values: Any, mask: Any) -> Any:
    """Attends [batch, 1, heads, d] to [batch, slots, heads, d]."""
    logits = jnp.einsum("bthd,bshd->bhts", query, keys) * SCALE
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(jnp.where(mask, logits, -1e30)), values)


def updated(key: Any, value: Any, cache: Cache, positions: Any) -> Cache:
    return {"k": append_rows(cache["k"], key, positions), "v": append_rows(cache["v"], value, positions)}


def einsum_slots_first(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    return plain_attend(query, cache["k"], cache["v"], visible(cache["k"].shape[1], positions)), cache


def matmul_heads_first(query, key, value, cache, positions, mask, params):
    """Transposes, matrix products, and a softmax written out; q is scaled before the product."""
    keys = append_rows(cache["k"], key, positions, axis=2)
    values = append_rows(cache["v"], value, positions, axis=2)
    logits = (query * 0.25).swapaxes(1, 2) @ keys.swapaxes(2, 3)
    logits = jnp.where(visible(keys.shape[2], positions), logits, -jnp.inf)
    weights = jnp.exp(logits - logits.max(-1, keepdims=True))
    out = (weights / weights.sum(-1, keepdims=True)) @ values
    return out.swapaxes(1, 2), {"k": keys, "v": values}


def library_function(query, key, value, cache, positions, mask, params):
    """``jax.nn.dot_product_attention`` with the mask it is handed, grouped queries and a float16 cache."""
    cache = updated(key, value, cache, positions)
    keys, values = (cache[n].astype(query.dtype) for n in ("k", "v"))
    return jax.nn.dot_product_attention(query, keys, values, mask=mask[:, None, None, :], scale=0.2), cache


def scalar_cursor(query, key, value, cache, positions, mask, params):
    """One dynamic_update_slice for all rows, at a position the cache counts itself."""
    here = cache["i"]
    keys = lax.dynamic_update_slice(cache["k"], key, (0, here, 0, 0))
    values = lax.dynamic_update_slice(cache["v"], value, (0, here, 0, 0))
    valid = (jnp.arange(keys.shape[1]) <= here)[None, None, None, :]
    return plain_attend(query, keys, values, valid), {"k": keys, "v": values, "i": here + 1}


def additive_mask(query, key, value, cache, positions, mask, params):
    """A bias of 0 or a large negative number is added, and the scale is a division."""
    cache = updated(key, value, cache, positions)
    bias = jnp.where(visible(cache["k"].shape[1], positions), 0.0, -1e9)
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) / 3.0 + bias
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), cache["v"]), cache


def grouped_by_repeat(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    keys, values = (jnp.repeat(cache[n], GROUP, axis=2) for n in ("k", "v"))
    return plain_attend(query, keys, values, visible(keys.shape[1], positions)), cache


def grouped_by_reshape(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    grouped = query.reshape(*query.shape[:2], KV_HEADS, GROUP, HEAD_SIZE)
    logits = jnp.einsum("btkgd,bskd->bkgts", grouped, cache["k"]) * SCALE
    logits = jnp.where(visible(cache["k"].shape[1], positions)[:, None], logits, -1e30)
    out = jnp.einsum("bkgts,bskd->btkgd", jax.nn.softmax(logits), cache["v"])
    return out.reshape(query.shape), cache


def scatter_update(query, key, value, cache, positions, mask, params):
    rows = jnp.arange(query.shape[0])
    keys = cache["k"].at[rows, positions[:, 0]].set(key[:, 0])
    values = cache["v"].at[rows, positions[:, 0]].set(value[:, 0])
    return plain_attend(query, keys, values, visible(keys.shape[1], positions)), {"k": keys, "v": values}


def select_update(query, key, value, cache, positions, mask, params):
    here = (jnp.arange(cache["k"].shape[1]) == positions)[:, :, None, None]
    keys, values = jnp.where(here, key, cache["k"]), jnp.where(here, value, cache["v"])
    return plain_attend(query, keys, values, visible(keys.shape[1], positions)), {"k": keys, "v": values}


def checkpointed(query, key, value, cache, positions, mask, params):
    """The attention of the first spelling under jit and remat."""
    inner = functools.partial(einsum_slots_first, mask=None, params=None)
    return jax.jit(jax.checkpoint(inner))(query, key, value, cache, positions)


def keys_only(query, key, value, cache, positions, mask, params):
    """Values are read from the key cache."""
    keys = append_rows(cache["k"], key, positions)
    return plain_attend(query, keys, keys, visible(keys.shape[1], positions)), {"k": keys}


def without_softmax(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE
    weights = jnp.where(visible(cache["k"].shape[1], positions), logits, 0.0)
    return jnp.einsum("bhts,bshd->bthd", weights, cache["v"]), cache


def learned_bias(query, key, value, cache, positions, mask, params):
    """ALiBi with slopes that are parameters."""
    cache = updated(key, value, cache, positions)
    distance = positions[:, None, None, :] - jnp.arange(cache["k"].shape[1])
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE
    logits = logits - params["slopes"][None, :, None, None] * distance
    logits = jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), cache["v"]), cache


def fixed_bias(query, key, value, cache, positions, mask, params):
    """ALiBi with one slope that is a number."""
    cache = updated(key, value, cache, positions)
    distance = (positions[:, None, None, :] - jnp.arange(cache["k"].shape[1])).astype(jnp.float32)
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE - 0.5 * distance
    logits = jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), cache["v"]), cache


def written_twice(query, key, value, cache, positions, mask, params):
    first = updated(key, value, cache, positions)
    cache = updated(key * 2, value, first, positions)
    return plain_attend(query, cache["k"], cache["v"], visible(cache["k"].shape[1], positions)), cache


def sliding_window(query, key, value, cache, positions, mask, params, window=3):
    """Only the last ``window`` tokens are seen."""
    cache = updated(key, value, cache, positions)
    slots = jnp.arange(cache["k"].shape[1])
    seen = ((slots <= positions) & (slots > positions - window))[:, None, None, :]
    return plain_attend(query, cache["k"], cache["v"], seen), cache


def wide_window(query, key, value, cache, positions, mask, params):
    """A window longer than any small probe, and shorter than the generation."""
    return sliding_window(query, key, value, cache, positions, mask, params, window=40)


def soft_capped(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    logits = jnp.tanh(jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE)
    logits = jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), cache["v"]), cache


def shifted_cache(query, key, value, cache, positions, mask, params):
    """A rolling buffer: entries move by one slot a step."""
    keys = jnp.concatenate([cache["k"][:, 1:], key], axis=1)
    values = jnp.concatenate([cache["v"][:, 1:], value], axis=1)
    return plain_attend(query, keys, values, jnp.ones((), bool)), {"k": keys, "v": values}


def unused_cache(query, key, value, cache, positions, mask, params):
    return value, cache


def inner_value_kept(query, key, value, cache, positions, mask, params):
    """The attention weights are used for something else too."""
    cache = updated(key, value, cache, positions)
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE
    weights = jax.nn.softmax(jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30))
    out = jnp.einsum("bhts,bshd->bthd", weights, cache["v"])
    return out * weights.max(-1).swapaxes(1, 2)[..., None], cache
