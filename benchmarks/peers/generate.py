"""Greedy generation with the KV cache elsewhere, fetched to the GPU layer by layer in each step."""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import jax
import numpy as np
from jax import numpy as jnp

from benchmarks.peers.kv_store import KvStore
from benchmarks.peers.layered_decoder import LayeredDecoder
from benchmarks.peers.throttle import Rates, at_least

_AHEAD = 2
"""Caches of layers under way: one is copied to the GPU while the next one is read."""


@dataclass(frozen=True)
class Generated:
    """Holds what came of one generation.

    Attributes:
        tokens: int32[batch, num_tokens].
        decode_s: Seconds of all steps behind the prefill.
    """

    tokens: np.ndarray
    decode_s: float


class Offload:
    """Generates while caches of the next layers are on their way: one thread reads it, another one copies it to the GPU.

    Decode steps take as long as the described links, drive and GPU need, or longer; the prefill runs as fast as it can.

    Args:
        decoder: The model, of at least two layers.
        store: Where the cache lies.
        rates: What links, drive and GPU can do.
    """

    def __init__(self, decoder: LayeredDecoder, store: KvStore, rates: Rates) -> None:
        if decoder.num_layers < 2:
            raise ValueError(
                "the model has one layer, whose cache cannot be fetched ahead; take a model with two or more"
            )
        self._decoder, self._store, self._rates = decoder, store, rates

    def generate(self, prompts: np.ndarray, num_tokens: int) -> Generated:
        """Returns the likeliest continuations of int32[batch, prompt_len]."""
        made = [self._prefill(prompts)]
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as link:

            def fetch(layer: int, position: int) -> Future[jax.Array]:
                read = reader.submit(self._store.read, layer, position)
                return link.submit(lambda: self._to_gpu(read.result()))

            jax.block_until_ready(made[-1])
            begun_s = time.perf_counter()
            coming = deque(fetch(layer, prompts.shape[1]) for layer in range(_AHEAD))
            for position in range(prompts.shape[1], prompts.shape[1] + num_tokens - 1):
                positions = jnp.full_like(made[-1], position)
                x = self._decoder.embed(made[-1], positions)
                for layer in range(self._decoder.num_layers):
                    x = self._run_layer(layer, x, coming.popleft().result(), positions, position)
                    later, layer_ahead = divmod(layer + _AHEAD, self._decoder.num_layers)
                    coming.append(fetch(layer_ahead, position + later))
                made.append(self._decoder.next_tokens(x))
            jax.block_until_ready(made[-1])
            decode_s = time.perf_counter() - begun_s
        return Generated(np.concatenate(jax.device_get(made), axis=1), decode_s)

    def _prefill(self, prompts: np.ndarray) -> jax.Array:
        """Fills the cache and returns the first new tokens."""
        tokens = jnp.asarray(prompts)
        positions = jnp.broadcast_to(jnp.arange(prompts.shape[1], dtype=jnp.int32), prompts.shape)
        x = self._decoder.embed(tokens, positions)
        for layer in range(self._decoder.num_layers):
            x, new = self._decoder.layer(layer, x, jnp.array(self._store.read(layer, 0)), positions)
            self._store.append(layer, np.asarray(new), 0)
        return self._decoder.next_tokens(x)

    def _run_layer(
        self, layer: int, x: jax.Array, kv: jax.Array, positions: jax.Array, position: int
    ) -> jax.Array:
        """Computes a layer for one new token per row, and sends its keys and values away."""
        decoder = self._decoder
        flops = 2.0 * x.shape[0] * decoder.layer_params + 2.0 * kv.size
        with at_least(self._rates.compute_s(flops, decoder.layer_bytes + kv.nbytes)):
            x, new = jax.block_until_ready(decoder.layer(layer, x, kv, positions))
        with at_least(new.nbytes / self._rates.gpu_link_bytes_per_s):
            arrived = np.asarray(new)
        self._store.append(layer, arrived, position)
        return x

    def _to_gpu(self, kv: np.ndarray) -> jax.Array:
        """Copies a layer's keys and values over the GPU's link."""
        with at_least(kv.nbytes / self._rates.gpu_link_bytes_per_s):
            return jax.block_until_ready(jnp.array(kv))
