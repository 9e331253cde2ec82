"""Heavy hitters: tokens that received little attention so far are dropped for good.

References:
    Zhang et al., "H2O: heavy-hitter oracle for efficient generative inference", arXiv:2306.14048.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from models.accuracy.decode_layer import Attend, Attended, Chunk, Counts, DecodeLayer, chunks_of, reads_of
from models.accuracy.largest import largest
from models.accuracy.masked_softmax import scores_of, visible_to, weighted_values, weights_of

RECENT_SHARE = 0.5
"""Part of the kept tokens that are the newest ones; the rest are heavy hitters (Zhang et al., section 5: half each)."""


class _Slots(NamedTuple):
    """The kept tokens of a layer, in no order.

    Attributes:
        keys: float32 ``[B, K, n, D]``.
        values: float32 ``[B, K, n, D]``.
        received: float32 ``[B, K, n]``, attention received so far, summed over query heads that share K.
        token: int32 ``[B, K, n]``, -1 in empty slots.
    """

    keys: jax.Array
    values: jax.Array
    received: jax.Array
    token: jax.Array


@dataclass(frozen=True)
class H2O:
    """Keeps one token in ``compression``, half of them the newest and half those that received the most attention.

    The number kept grows with the context, so that all methods read the same share. What is dropped never comes back. Attention
    received during the prompt counts.

    Attributes:
        compression: Tokens in the context over tokens kept.
    """

    compression: float

    def counts(self, context_lens: np.ndarray, head_size: int) -> Counts:
        """Returns tokens kept, and the newest among them."""
        kept = np.maximum(1, np.ceil(context_lens / self.compression)).astype(np.int32)
        return kept, np.ceil(kept * RECENT_SHARE).astype(np.int32)

    def attend(self, counts: Counts) -> Attend:
        """Returns the function that attends."""
        return _AttendToSlots(int(counts[0][0]), int(counts[0][-1]))


@dataclass(frozen=True)
class _AttendToSlots:
    """Attends with one query after the other, since what is kept follows from what was attended to.

    Attributes:
        num_first: Tokens that the first query attends to.
        num_slots: Tokens that the last one attends to.
    """

    num_first: int
    num_slots: int

    def __call__(self, layer: DecodeLayer, counts: tuple[jax.Array, jax.Array]) -> Attended:
        """Attends with every query of a layer."""
        _, kv_heads, _, num_queries, head_size = layer.query.shape
        slots = _after_prompt(layer, self.num_first - 1, self.num_slots)

        def step(slots: _Slots, at: tuple[jax.Array, ...]) -> tuple[_Slots, jax.Array]:
            query, key, value, length, count, newest = at
            is_full = (slots.token >= 0).sum(axis=-1) >= count
            droppable = (slots.token >= 0) & (slots.token < length - newest)
            least = jnp.argmin(jnp.where(droppable, slots.received, jnp.inf), axis=-1)
            slot = jnp.where(is_full, least, jnp.argmin(slots.token, axis=-1))
            slots = _Slots(
                _put(slots.keys, slot, key),
                _put(slots.values, slot, value),
                _put(slots.received, slot, jnp.zeros(slot.shape)),
                _put(slots.token, slot, jnp.broadcast_to(length - 1, slot.shape)),
            )
            scores = scores_of(query[:, :, :, None], slots.keys)
            weights = weights_of(scores, (slots.token >= 0)[:, :, None, None])
            output = weighted_values(weights, slots.values)[:, :, :, 0]
            return slots._replace(received=slots.received + weights[:, :, :, 0].sum(axis=2)), output

        prompt_len = layer.keys.shape[2] - num_queries
        along = (
            jnp.moveaxis(layer.query.astype(jnp.float32), 3, 0),
            jnp.moveaxis(layer.keys[:, :, prompt_len:].astype(jnp.float32), 2, 0),
            jnp.moveaxis(layer.values[:, :, prompt_len:].astype(jnp.float32), 2, 0),
            jnp.asarray(layer.context_lens),
            *counts,
        )
        _, output = lax.scan(step, slots, along)
        elements = 2.0 * kv_heads * head_size * counts[0]
        return Attended(jnp.moveaxis(output, 0, 3), reads_of(elements, layer))


def _after_prompt(layer: DecodeLayer, num_kept: int, num_slots: int) -> _Slots:
    """Returns the tokens of the prompt that are kept, in ``num_slots`` slots."""
    rows, kv_heads, _, head_size = layer.keys.shape
    prompt_len = layer.prompt_query.shape[3]
    received = _received(layer)
    recent = min(num_kept, int(np.ceil((num_kept + 1) * RECENT_SHARE)) - 1)
    older = jnp.arange(prompt_len) < prompt_len - recent
    chosen = largest(jnp.where(older, received, -1.0), jnp.int32(num_kept - recent)) | ~older
    token = jnp.argsort(~chosen, axis=-1, stable=True)[..., :num_kept]
    shape = (rows, kv_heads, num_slots)
    at = (slice(None), slice(None), slice(num_kept))

    def slots(x: jax.Array) -> jax.Array:
        taken = jnp.take_along_axis(x, token[..., None], axis=2).astype(jnp.float32)
        return jnp.zeros((*shape, head_size), jnp.float32).at[at].set(taken)

    return _Slots(
        slots(layer.keys),
        slots(layer.values),
        jnp.zeros(shape, jnp.float32).at[at].set(jnp.take_along_axis(received, token, axis=-1)),
        jnp.full(shape, -1, jnp.int32).at[at].set(token.astype(jnp.int32)),
    )


def _received(layer: DecodeLayer) -> jax.Array:
    """Returns the attention that each token of the prompt received within it: float32 ``[B, K, P]``."""
    prompt_len = layer.prompt_query.shape[3]
    keys = layer.keys[:, :, :prompt_len]

    def add(received: jax.Array, chunk: Chunk) -> tuple[jax.Array, None]:
        weights = weights_of(scores_of(chunk.query, keys), visible_to(chunk.context_lens, prompt_len))
        counted = jnp.where(chunk.is_copy[:, None], 0.0, weights)
        return received + counted.sum(axis=(2, 3)), None

    prompt = DecodeLayer(layer.prompt_query, keys, keys, layer.prompt_query)
    return lax.scan(add, jnp.zeros(keys.shape[:3], jnp.float32), chunks_of(prompt))[0]


def _put(slots: jax.Array, slot: jax.Array, new: jax.Array) -> jax.Array:
    """Returns ``[B, K, n, ...]`` with ``[B, K, ...]`` at index ``[B, K]``."""
    return jax.vmap(jax.vmap(lambda kept, at, one: kept.at[at].set(one)))(slots, slot, new)
