"""What one layer attends with, what comes of it, and how queries are taken in chunks.

Letters as in :mod:`models.accuracy`.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

CHUNK_ELEMENTS = 1 << 20
"""Logits that are held at once, a choice: 4 MiB of float32 stay in a processor's caches."""


class DecodeLayer(NamedTuple):
    """One layer's queries, keys and values.

    The query at index i is that of token ``P + i`` and attends to the tokens 0 to ``P + i``.

    Attributes:
        query: ``[B, K, G, Q, D]``, of the tokens behind the prompt.
        keys: ``[B, K, S, D]``, as cached.
        values: ``[B, K, S, D]``, as cached.
        prompt_query: ``[B, K, G, P, D]``.
    """

    query: jax.Array
    keys: jax.Array
    values: jax.Array
    prompt_query: jax.Array

    @property
    def context_lens(self) -> np.ndarray:
        """Tokens that each query attends to, itself included: int32 ``[Q]``."""
        last = self.keys.shape[2]
        return np.arange(last - self.query.shape[3], last, dtype=np.int32) + 1


class Reads(NamedTuple):
    """What was read of a layer's cache, summed over KV heads.

    Attributes:
        elements: float32 ``[B, Q]``, elements of K and V.
        pages: float32 ``[B, Q]``, flash pages; None for methods that no drive has.
    """

    elements: jax.Array
    pages: jax.Array | None = None


def reads_of(elements: jax.Array, layer: DecodeLayer, pages: jax.Array | None = None) -> Reads:
    """Returns reads that are equal in all rows, from elements and pages ``[C]``."""

    def in_rows(counts: jax.Array) -> jax.Array:
        return jnp.broadcast_to(counts.astype(jnp.float32), (layer.query.shape[0], *counts.shape))

    return Reads(in_rows(elements), None if pages is None else in_rows(pages))


class Attended(NamedTuple):
    """What attention gives.

    Attributes:
        output: float32 ``[B, K, G, Q, D]``.
        reads: What was read for it.
    """

    output: jax.Array
    reads: Reads


Counts = tuple[np.ndarray, ...]
"""Whole numbers that say how much a method reads: int32 ``[Q]`` by query, or one for all, ``[]``."""

Attend = Callable[[DecodeLayer, Any], Attended]
"""Attends with every query of a layer by some counts; compiled once for each such function."""


class AttentionMethod(Protocol):
    """A way to attend to a cache."""

    def counts(self, context_lens: np.ndarray, head_size: int) -> Counts:
        """Returns how much is read in each query's context, int32 ``[Q]``."""
        ...

    def attend(self, counts: Counts) -> Attend:
        """Returns the function that attends by such counts; hashable, and equal where the same code is to run."""
        ...


def attend_by(method: AttentionMethod, layer: DecodeLayer) -> Attended:
    """Attends by a method with every query of a layer."""
    counts = method.counts(layer.context_lens, layer.query.shape[-1])
    return _compiled(method.attend(counts), layer, counts)


@partial(jax.jit, static_argnums=0)
def _compiled(attend: Attend, layer: DecodeLayer, counts: Counts) -> Attended:
    return attend(layer, counts)


class Chunk(NamedTuple):
    """Some queries of a layer.

    Attributes:
        query: float32 ``[B, K, G, C, D]``.
        place: int32 ``[C]``, their places among the queries.
        context_lens: int32 ``[C]``.
        is_copy: bool ``[C]``, copies of the last query that fill up the last chunk.
    """

    query: jax.Array
    place: jax.Array
    context_lens: jax.Array
    is_copy: jax.Array


def chunks_of(layer: DecodeLayer) -> Chunk:
    """Returns all queries in chunks of so many that memory stays bounded whatever the context; a leading axis counts chunks."""
    rows, kv_heads, shared, count, head_size = layer.query.shape
    size = min(count, max(1, CHUNK_ELEMENTS // (rows * kv_heads * shared * layer.keys.shape[2])))
    places = np.arange(-(-count // size) * size).reshape(-1, size)
    index = np.minimum(places, count - 1).astype(np.int32)
    query = layer.query.astype(jnp.float32)[:, :, :, index.ravel()]
    query = query.reshape(rows, kv_heads, shared, *index.shape, head_size).transpose(3, 0, 1, 2, 4, 5)
    return Chunk(
        query, jnp.asarray(index), jnp.asarray(layer.context_lens[index]), jnp.asarray(places >= count)
    )


def in_chunks(layer: DecodeLayer, attend: Callable[[Chunk], Attended]) -> Attended:
    """Attends with all queries, chunk by chunk.

    Args:
        layer: Layer.
        attend: Attends with a chunk; its outputs are ``[B, K, G, C, D]``, its counts ``[B, C]``.
    """
    rows, kv_heads, shared, count, head_size = layer.query.shape
    output, reads = lax.map(attend, chunks_of(layer))
    output = output.transpose(1, 2, 3, 0, 4, 5).reshape(rows, kv_heads, shared, -1, head_size)
    counts = jax.tree.map(lambda x: x.transpose(1, 0, 2).reshape(rows, -1)[:, :count], reads)
    return Attended(output[:, :, :, :count], counts)
