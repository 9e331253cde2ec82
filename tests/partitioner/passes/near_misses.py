"""The decoder layer of ``spellings`` with what only looks like attention, or is more than that."""

import jax
from jax import lax
from jax import numpy as jnp

from tests.partitioner.passes.spellings import (
    HEADS,
    SCALE,
    Spelling,
    append_rows,
    einsum_slots_first,
    plain_attend,
    updated,
    visible,
)


def keys_only(query, key, value, cache, positions, mask, params):
    """Values are read from the key cache."""
    keys = append_rows(cache["k"], key, positions)
    return plain_attend(query, keys, keys, visible(keys.shape[1], positions)), {"k": keys}


def rotated_after_the_write(query, key, value, cache, positions, mask, params):
    """Keys are stored as they are and turned by their positions at every use."""
    cache = updated(key, value, cache, positions)
    turn = jnp.cos(jnp.arange(cache["k"].shape[1]) / 9.0)[:, None, None]
    return plain_attend(query, cache["k"] * turn, cache["v"], visible(cache["k"].shape[1], positions)), cache


def without_softmax(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE
    weights = jnp.where(visible(cache["k"].shape[1], positions), logits, 0.0)
    return jnp.einsum("bhts,bshd->bthd", weights, cache["v"]), cache


def learned_bias(query, key, value, cache, positions, mask, params):
    """ALiBi with slopes that are parameters."""
    cache = updated(key, value, cache, positions)
    distance = positions[:, None, :, None] - jnp.arange(cache["k"].shape[1])
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE
    logits = logits - params["slopes"][None, :, None, None] * distance
    logits = jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), cache["v"]), cache


def written_twice(query, key, value, cache, positions, mask, params):
    first = updated(key, value, cache, positions)
    cache = updated(key * 2, value, first, positions)
    return plain_attend(query, cache["k"], cache["v"], visible(cache["k"].shape[1], positions)), cache


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


def clipped(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    logits = jnp.maximum(jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE, -60.0)
    logits = jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), cache["v"]), cache


def bent_logits(query, key, value, cache, positions, mask, params):
    """Something else than a factor stands between the products."""
    cache = updated(key, value, cache, positions)
    logits = jax.nn.relu(jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE)
    logits = jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), cache["v"]), cache


def softmax_over_heads(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE
    logits = jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits, axis=1), cache["v"]), cache


def softmax_with_a_sink(query, key, value, cache, positions, mask, params):
    """Part of the weight goes to nothing."""
    cache = updated(key, value, cache, positions)
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE
    weights = jnp.exp(jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30))
    weights = weights / (1 + weights.sum(-1, keepdims=True))
    return jnp.einsum("bhts,bshd->bthd", weights, cache["v"]), cache


def blind_to_itself(query, key, value, cache, positions, mask, params):
    """A token sees those before it, and not itself."""
    cache = updated(key, value, cache, positions)
    return plain_attend(query, cache["k"], cache["v"], visible(cache["k"].shape[1], positions - 1)), cache


def transposed_keys(query, key, value, cache, positions, mask, params):
    append = jax.vmap(lambda row, new, at: lax.dynamic_update_slice(row, new, (0, 0, at)))
    keys = append(cache["k"], key.transpose(0, 2, 3, 1), positions[:, 0])
    values = append_rows(cache["v"], value, positions, axis=2)
    logits = jnp.einsum("bthd,bhds->bhts", query, keys) * SCALE
    logits = jnp.where(visible(keys.shape[3], positions), logits, -1e30)
    return jnp.einsum("bhts,bhsd->bthd", jax.nn.softmax(logits), values), {"k": keys, "v": values}


def one_logit_for_all_heads(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    logits = jnp.einsum("bthd,bshd->bts", query, cache["k"]) * SCALE
    logits = jnp.where(visible(cache["k"].shape[1], positions)[:, 0], logits, -1e30)
    return jnp.einsum("bts,bshd->bthd", jax.nn.softmax(logits), cache["v"]), cache


def values_summed_over_heads(query, key, value, cache, positions, mask, params):
    cache = updated(key, value, cache, positions)
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * SCALE
    logits = jnp.where(visible(cache["k"].shape[1], positions), logits, -1e30)
    summed = jnp.einsum("bhts,bshd->btd", jax.nn.softmax(logits), cache["v"])
    return jnp.tile(summed, (1, 1, HEADS)), cache


def unrelated_contractions(query, key, value, cache, positions, mask, params):
    """Both caches are contracted, each on its own."""
    cache = updated(key, value, cache, positions)
    sums = [jnp.einsum("bthd,bshd->bths", query, cache[n]).sum(-1, keepdims=True) for n in ("k", "v")]
    return query * (sums[0] + sums[1]), cache


def backwards(query, key, value, cache, positions, mask, params):
    """The cache is filled from its end."""
    slots = cache["k"].shape[1]
    last = slots - 1 - positions
    cache = updated(key, value, cache, last)
    seen = (jnp.arange(slots) >= last[:, :, None])[:, None]
    return plain_attend(query, cache["k"], cache["v"], seen), cache


def short_cache(query, key, value, cache, positions, mask, params):
    """A ring buffer, of which the oldest entry is overwritten."""
    slots = cache["k"].shape[1]
    cache = updated(key, value, cache, positions % slots)
    return plain_attend(query, cache["k"], cache["v"], visible(slots, positions)), cache


def wrapping_writes(query, key, value, cache, positions, mask, params):
    """A cache of full length, of which the first 40 slots are written again and again."""
    cache = updated(key, value, cache, positions % 40)
    return plain_attend(query, cache["k"], cache["v"], visible(cache["k"].shape[1], positions)), cache


def mask_by_token(query, key, value, cache, positions, mask, params):
    """Token 31 sees nothing but the first slot."""
    cache = updated(key, value, cache, positions)
    here = jnp.where(params["tokens"] == 31, 0, positions)
    return plain_attend(query, cache["k"], cache["v"], visible(cache["k"].shape[1], here)), cache


ONE_EXPECTED = r"contractions \(dot_general\), expected one"
NO_SOFTMAX = "its weights of the valid tokens do not sum to 1"
NOT_ONE_RULE = (
    "it does not treat all slots before the position by one rule, as a window or a bias that is linear"
)

NEAR_MISSES = {
    f"{s.attend.__name__}-{s.dtype}" if s.dtype == "int8" else s.attend.__name__: s
    for s in (
        Spelling(
            keys_only,
            names=("k",),
            reason=rf"enters 2 {ONE_EXPECTED}, and is read in: .*dot_general.*; .*dot_general",
        ),
        Spelling(rotated_after_the_write, reason=rf"enters 0 {ONE_EXPECTED}, and is read in: .* mul "),
        Spelling(without_softmax, reason=NO_SOFTMAX),
        Spelling(learned_bias, reason=r"beyond q, k, v and positions it reads float32\[2,6,1,64\] in: .*sub"),
        Spelling(written_twice, reason="the cache is written more than once in a step"),
        Spelling(clipped, reason="at large q.K.T, as under a clip, it differs"),
        Spelling(bent_logits, reason=r"it differs from softmax\(.* q.K.T\).V over .*: between -1 and -1.125"),
        Spelling(softmax_over_heads, reason=NO_SOFTMAX),
        Spelling(softmax_with_a_sink, reason=NO_SOFTMAX),
        Spelling(blind_to_itself, reason="it gives one of two equal tokens no weight"),
        Spelling(
            transposed_keys,
            heads_first=True,
            transposed_keys=True,
            reason=r"the caches have shapes \(2, 6, 8, 64\) and \(2, 6, 64, 8\); one layout for K and V is expected",
        ),
        Spelling(
            unrelated_contractions, reason="its contraction neither leads to, nor follows from, a contraction"
        ),
        Spelling(one_logit_for_all_heads, reason="q.K.T does not contract exactly one cache axis"),
        Spelling(values_summed_over_heads, reason="p.V does not contract exactly the token axis"),
        Spelling(backwards, reason="it weighs tokens behind the position"),
        Spelling(
            short_cache, most_slots=40, reason=r"the cache has shape \(2, 40, 6, 8\); .* one of 64 slots"
        ),
        Spelling(
            wrapping_writes,
            reason="an index does not grow evenly with the position, as that of a ring buffer",
        ),
        Spelling(mask_by_token, reason="its mask or positions depend on the tokens themselves"),
        Spelling(
            shifted_cache,
            reason="not written by dynamic_update_slice, scatter or select, but by `concatenate`",
        ),
        Spelling(unused_cache, reason="the cache is returned as it came"),
        Spelling(
            inner_value_kept,
            reason=r"an inner value float32\[2,6,1,64\] is also read outside, in: .*reduce_max",
        ),
        Spelling(
            einsum_slots_first,
            dtype="int8",
            reason="its entries are int8; only floating-point caches are raised",
        ),
    )
}
"""What is to be left as it is, with the reason."""
