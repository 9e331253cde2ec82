"""One decoder layer whose attention is spelled in many ways."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from partitioner.frontend import StepFunction, from_step

HEADS, KV_HEADS, HEAD_SIZE, VOCAB = 6, 2, 8, 32
GROUP = HEADS // KV_HEADS
HIDDEN = HEADS * HEAD_SIZE
SCALE = HEAD_SIZE**-0.5

Cache = dict[str, Any]
Attend = Callable[..., tuple[Any, Cache]]


@dataclass(frozen=True)
class Spelling:
    """A decoder around one way to write attention.

    Attributes:
        attend: ``attend(query, key, value, cache, positions, mask, params) -> (out, cache)`` with query
            float[batch, chunk, heads, d], key and value float[batch, chunk, kv_heads, d].
        kv_heads: KV heads.
        heads_first: Whether the cache is [batch, kv_heads, slots, d] rather than [batch, slots, kv_heads, d].
        cursor: Whether the cache counts its own position in a scalar ``i``.
        dtype: Dtype of the caches.
        names: Names of the caches.
        transposed_keys: Whether the K cache is [batch, kv_heads, d, slots].
        most_slots: Slots a cache has at most.
        one_token: Whether a step takes one token only.
        scale: Factor on q.K^T that is to be found.
        soft_cap: Cap that is to be found.
        window: Window that is to be found.
        slopes: Slopes that are to be found.
        reason: Why it is not to be raised; a regular expression.
    """

    attend: Attend
    kv_heads: int = HEADS
    heads_first: bool = False
    cursor: bool = False
    dtype: str = "float32"
    names: tuple[str, ...] = ("k", "v")
    transposed_keys: bool = False
    most_slots: int | None = None
    one_token: bool = False
    scale: float = SCALE
    soft_cap: float | None = None
    window: int | None = None
    slopes: tuple[float, ...] | None = None
    reason: str = ""

    def decoder(self) -> StepFunction:
        """Returns the decoder, without values for its parameters."""
        kv_size = self.kv_heads * HEAD_SIZE
        shapes = {
            "embed": (VOCAB, HIDDEN),
            "query": (HIDDEN, HIDDEN),
            "key": (HIDDEN, kv_size),
            "value": (HIDDEN, kv_size),
        }
        shapes |= {"o": (HIDDEN, HIDDEN), "head": (HIDDEN, VOCAB), "slopes": (HEADS,)}
        params = {n: jax.ShapeDtypeStruct(s, jnp.float32) for n, s in shapes.items()}
        return from_step(
            self._step,
            params=params,
            init_cache=self._init_cache,
            max_chunk=1 if self.one_token else None,
            name=self.attend.__name__,
        )

    def _step(self, params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        x = params["embed"][tokens]
        query = (x @ params["query"]).reshape(*tokens.shape, HEADS, HEAD_SIZE)
        key, value = (
            (x @ params[n]).reshape(*tokens.shape, self.kv_heads, HEAD_SIZE) for n in ("key", "value")
        )
        out, cache = self.attend(query, key, value, cache, positions, mask, {**params, "tokens": tokens})
        return (x + out.reshape(x.shape) @ params["o"]) @ params["head"], cache

    def _init_cache(self, rows: int, slots: int) -> Cache:
        slots = min(slots, self.most_slots or slots)
        shape = (self.kv_heads, slots) if self.heads_first else (slots, self.kv_heads)
        cache: Cache = {name: jnp.zeros((rows, *shape, HEAD_SIZE), self.dtype) for name in self.names}
        if self.transposed_keys:
            cache["k"] = jnp.zeros((rows, self.kv_heads, HEAD_SIZE, slots), self.dtype)
        return cache | ({"i": jnp.zeros((), jnp.int32)} if self.cursor else {})


def append_rows(cache: Any, new: Any, positions: Any, axis: int = 1) -> Any:
    """Writes [batch, chunk, heads, d] from each row's own position on with a vmapped dynamic_update_slice."""
    starts = [(positions[:, 0] if a == axis else jnp.zeros_like(positions[:, 0])) for a in (1, 2, 3)]
    rows = new if axis == 1 else new.swapaxes(1, 2)
    return jax.vmap(lambda row, update, *at: lax.dynamic_update_slice(row, update, at))(
        cache, rows.astype(cache.dtype), *starts
    )


def visible(slots: int, positions: Any) -> Any:
    """Returns bool[batch, 1, chunk, slots]."""
    return (jnp.arange(slots) <= positions[:, :, None])[:, None]


def plain_attend(query: Any, keys: Any, values: Any, mask: Any) -> Any:
    """Attends [batch, chunk, heads, d] to [batch, slots, heads, d]."""
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
    seen = mask[:, None, None, :] & visible(keys.shape[1], positions)
    return jax.nn.dot_product_attention(query, keys, values, mask=seen, scale=0.2), cache


def scalar_cursor(query, key, value, cache, positions, mask, params):
    """One dynamic_update_slice for all rows, at a position the cache counts itself."""
    here = cache["i"]
    keys = lax.dynamic_update_slice(cache["k"], key, (0, here, 0, 0))
    values = lax.dynamic_update_slice(cache["v"], value, (0, here, 0, 0))
    chunk = query.shape[1]
    valid = visible(keys.shape[1], (here + jnp.arange(chunk))[None])
    return plain_attend(query, keys, values, valid), {"k": keys, "v": values, "i": here + chunk}


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


def interleaved_heads(query, key, value, cache, positions, mask, params):
    """Query head ``g * kv_heads + k`` reads KV head ``k``."""
    cache = updated(key, value, cache, positions)
    grouped = query.reshape(*query.shape[:2], GROUP, KV_HEADS, HEAD_SIZE)
    logits = jnp.einsum("btgkd,bskd->bkgts", grouped, cache["k"]) * SCALE
    logits = jnp.where(visible(cache["k"].shape[1], positions)[:, None], logits, -1e30)
    out = jnp.einsum("bkgts,bskd->btgkd", jax.nn.softmax(logits), cache["v"])
    return out.reshape(query.shape), cache


def scatter_update(query, key, value, cache, positions, mask, params):
    rows = jnp.arange(query.shape[0])[:, None]
    keys = cache["k"].at[rows, positions].set(key)
    values = cache["v"].at[rows, positions].set(value)
    return plain_attend(query, keys, values, visible(keys.shape[1], positions)), {"k": keys, "v": values}


def select_update(query, key, value, cache, positions, mask, params):
    here = (jnp.arange(cache["k"].shape[1]) == positions)[:, :, None, None]
    keys, values = jnp.where(here, key, cache["k"]), jnp.where(here, value, cache["v"])
    return plain_attend(query, keys, values, visible(keys.shape[1], positions)), {"k": keys, "v": values}


def checkpointed(query, key, value, cache, positions, mask, params):
    """The attention of the first spelling under jit and remat."""
    inner = functools.partial(einsum_slots_first, mask=None, params=None)
    return jax.jit(jax.checkpoint(inner))(query, key, value, cache, positions)


def closing_over_arrays(query, key, value, cache, positions, mask, params):
    """Under jit, with a mask taken from a table of numbers that the function closes over."""
    keys = append_rows(cache["k"], key, positions)
    values = append_rows(cache["v"], value, positions)

    @jax.jit
    def attend(query, keys, values):
        seen = jnp.asarray(_CAUSAL)[positions, : keys.shape[1]][:, None]
        return plain_attend(query, keys, values, seen)

    return attend(query, keys, values), {"k": keys, "v": values}


_CAUSAL = np.tril(np.ones((64, 64), bool))


def fresh_in_prefill(query, key, value, cache, positions, mask, params):
    """A chunk attends to its own keys and values, and a single token to the cache."""
    if query.shape[1] == 1:
        return einsum_slots_first(query, key, value, cache, positions, mask, params)
    out = jax.nn.dot_product_attention(query, key, value, is_causal=True)
    return out, updated(key, value, cache, positions)


def from_table(table: np.ndarray) -> Any:
    """Returns a mask that is looked up in an array."""
    return lambda slots, positions: jnp.asarray(table)[positions][:, None]


def layered(masks: list[Any], *, alike: bool = False) -> StepFunction:
    """Returns attentions one after another, nothing but a residual between them, each with ``mask(slots, positions)``.

    Each makes K and V with another factor, unless layers are to be alike but for their masks.
    """

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        x = params["embed"][tokens]
        after = {}
        for n, seen in enumerate(masks):
            keys, values = (
                jax.vmap(lambda row, new, at: jax.lax.dynamic_update_slice(row, new, (at, 0, 0)))(
                    cache[f"{letter}{n}"], x * (2 if alike else 2 + n), positions[:, 0]
                )
                for letter in "kv"
            )
            after |= {f"k{n}": keys, f"v{n}": values}
            x = x + plain_attend(x, keys, values, seen(keys.shape[1], positions))
        return x.reshape(*tokens.shape, -1), after

    def init_cache(rows: int, slots: int) -> Any:
        names = [f"{letter}{n}" for n in range(len(masks)) for letter in "kv"]
        return {name: jnp.zeros((rows, slots, 6, 8)) for name in names}

    params = {"embed": jax.ShapeDtypeStruct((32, 6, 8), jnp.float32)}
    return from_step(step, params=params, init_cache=init_cache)


SPELLINGS = {
    s.attend.__name__: s
    for s in (
        Spelling(einsum_slots_first),
        Spelling(matmul_heads_first, heads_first=True, scale=1.0),
        Spelling(library_function, kv_heads=KV_HEADS, dtype="float16", scale=0.2),
        Spelling(scalar_cursor, cursor=True),
        Spelling(additive_mask, scale=1 / 3),
        Spelling(grouped_by_repeat, kv_heads=KV_HEADS, dtype="bfloat16"),
        Spelling(grouped_by_reshape, kv_heads=KV_HEADS),
        Spelling(interleaved_heads, kv_heads=KV_HEADS),
        Spelling(scatter_update),
        Spelling(select_update, one_token=True),
        Spelling(checkpointed),
        Spelling(closing_over_arrays),
        Spelling(fresh_in_prefill),
    )
}
"""Attention that is to be raised."""
