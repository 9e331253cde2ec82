"""The decoder layer of ``spellings`` with attention that has a window, a soft cap or a bias by distance."""

import jax
import numpy as np
from jax import numpy as jnp

from tests.partitioner.passes.spellings import (
    GROUP,
    HEAD_SIZE,
    HEADS,
    KV_HEADS,
    SCALE,
    Spelling,
    plain_attend,
    updated,
    visible,
)

SLOPES = tuple(float(np.float32(2.0 ** (-8 * (h + 1) / HEADS))) for h in range(HEADS))
"""Those of a model with as many heads (Press et al. 2022)."""


def attend(logits, cache, seen):
    """Attends with logits [batch, heads, chunk, slots]."""
    weights = jax.nn.softmax(jnp.where(seen, logits, -1e30))
    return jnp.einsum("bhts,bshd->bthd", weights, cache["v"])


def products(query, cache):
    return jnp.einsum("bthd,bshd->bhts", query, cache["k"])


def fixed_bias(query, key, value, cache, positions, mask, params):
    """A bias by distance with one slope."""
    cache = updated(key, value, cache, positions)
    slots = cache["k"].shape[1]
    distance = (positions[:, None, :, None] - jnp.arange(slots)).astype(jnp.float32)
    return attend(products(query, cache) * SCALE - 0.5 * distance, cache, visible(slots, positions)), cache


def bias_by_head(query, key, value, cache, positions, mask, params):
    """ALiBi as its authors wrote it: a slope for each head, a table of distances."""
    cache = updated(key, value, cache, positions)
    slots = cache["k"].shape[1]
    distance = (positions[:, None, :, None] - jnp.arange(slots)).astype(jnp.float32)
    bias = -jnp.asarray(SLOPES, jnp.float32)[:, None, None] * distance
    return attend(products(query, cache) * SCALE + bias, cache, visible(slots, positions)), cache


def bias_by_slot(query, key, value, cache, positions, mask, params):
    """ALiBi as BLOOM writes it: the bias grows with the slot, of a count of the tokens that the mask leaves."""
    cache = updated(key, value, cache, positions)
    slots = cache["k"].shape[1]
    order = (jnp.cumsum(mask, axis=-1) - 1) * mask
    bias = jnp.asarray(SLOPES, jnp.float32)[None, :, None, None] * order[:, None, None, :]
    return attend(products(query, cache) * SCALE + bias, cache, visible(slots, positions)), cache


def bias_with_mask(query, key, value, cache, positions, mask, params):
    """Mask and bias are one array that is added."""
    cache = updated(key, value, cache, positions)
    slots = cache["k"].shape[1]
    bias = jnp.asarray(SLOPES, jnp.float32)[:, None, None] * jnp.arange(slots)
    bias = jnp.where(visible(slots, positions), bias, jnp.finfo(jnp.float32).min)
    logits = products(query, cache) * SCALE + bias
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), cache["v"]), cache


def bias_in_groups(query, key, value, cache, positions, mask, params):
    """Grouped heads, each with a slope of its own."""
    cache = updated(key, value, cache, positions)
    slots = cache["k"].shape[1]
    grouped = query.reshape(*query.shape[:2], KV_HEADS, GROUP, HEAD_SIZE)
    logits = jnp.einsum("btkgd,bskd->bkgts", grouped, cache["k"]) * SCALE
    distance = (positions[:, None, None, :, None] - jnp.arange(slots)).astype(jnp.float32)
    logits -= jnp.asarray(SLOPES, jnp.float32).reshape(KV_HEADS, GROUP, 1, 1) * distance
    logits = jnp.where(visible(slots, positions)[:, None], logits, -1e30)
    out = jnp.einsum("bkgts,bskd->btkgd", jax.nn.softmax(logits), cache["v"])
    return out.reshape(query.shape), cache


def sliding_window(query, key, value, cache, positions, mask, params, window=3):
    """Only the last ``window`` tokens are seen."""
    cache = updated(key, value, cache, positions)
    slots, here = jnp.arange(cache["k"].shape[1]), positions[:, :, None]
    seen = ((slots <= here) & (slots > here - window))[:, None]
    return plain_attend(query, cache["k"], cache["v"], seen), cache


def wide_window(query, key, value, cache, positions, mask, params):
    """A window longer than any small probe, and shorter than the generation."""
    return sliding_window(query, key, value, cache, positions, mask, params, window=40)


def two_masks(query, key, value, cache, positions, mask, params):
    """What is too old and what is yet to come are hidden one after the other."""
    cache = updated(key, value, cache, positions)
    slots = cache["k"].shape[1]
    logits = products(query, cache) * SCALE
    old = (positions[:, :, None] - jnp.arange(slots) >= 20)[:, None]
    return attend(jnp.where(old, jnp.finfo(jnp.float32).min, logits), cache, visible(slots, positions)), cache


def soft_capped(query, key, value, cache, positions, mask, params, cap=50.0):
    """A cap so high that logits of usual size hardly feel it."""
    cache = updated(key, value, cache, positions)
    logits = cap * jnp.tanh(products(query, cache) * SCALE / cap)
    return attend(logits, cache, visible(cache["k"].shape[1], positions)), cache


def capped_window(query, key, value, cache, positions, mask, params):
    """Cap and window at once, as Gemma 2 has them in every other layer."""
    cache = updated(key, value, cache, positions)
    slots = cache["k"].shape[1]
    logits = jnp.tanh(products(query, cache) * (SCALE / 20)) * 20.0
    recent = (jnp.arange(slots) > positions[:, :, None] - 5)[:, None]
    return attend(logits, cache, visible(slots, positions) & recent), cache


def biased_window(query, key, value, cache, positions, mask, params):
    """Bias and window at once, as MPT may have them."""
    cache = updated(key, value, cache, positions)
    slots = cache["k"].shape[1]
    bias = -jnp.asarray(SLOPES, jnp.float32)[:, None, None] * (
        positions[:, None, :, None] - jnp.arange(slots)
    )
    recent = (jnp.arange(slots) > positions[:, :, None] - 30)[:, None]
    logits = products(query, cache) * SCALE + bias
    return attend(logits, cache, visible(slots, positions) & recent), cache


def capped_bias(query, key, value, cache, positions, mask, params):
    """Cap, then bias."""
    cache = updated(key, value, cache, positions)
    slots = cache["k"].shape[1]
    bias = -jnp.asarray(SLOPES, jnp.float32)[:, None, None] * (
        positions[:, None, :, None] - jnp.arange(slots)
    )
    logits = 30.0 * jnp.tanh(products(query, cache) * SCALE / 30.0) + bias
    return attend(logits, cache, visible(slots, positions)), cache


ATTRIBUTE_SPELLINGS = {
    s.attend.__name__: s
    for s in (
        Spelling(fixed_bias, slopes=(0.5,) * HEADS),
        Spelling(bias_by_head, slopes=SLOPES),
        Spelling(bias_by_slot, slopes=SLOPES),
        Spelling(bias_with_mask, slopes=SLOPES),
        Spelling(bias_in_groups, kv_heads=KV_HEADS, slopes=SLOPES),
        Spelling(sliding_window, window=3),
        Spelling(wide_window, window=40),
        Spelling(two_masks, window=20),
        Spelling(soft_capped, dtype="bfloat16", soft_cap=50.0),
        Spelling(capped_window, soft_cap=20.0, window=5),
        Spelling(biased_window, slopes=SLOPES, window=30),
        Spelling(capped_bias, soft_cap=30.0, slopes=SLOPES),
    )
}
"""Attention that is to be raised with attributes."""
