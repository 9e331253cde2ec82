"""Where a KV cache lies when the GPU has no room for it: arrays in host memory, or a file per layer.

Shapes: keys and values of a layer are float16[2, batch, kv_heads, tokens, head_size].
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.peers.throttle import Rates, at_least


class KvStore(Protocol):
    """What a generation asks of its cache."""

    def read(self, layer: int, num_tokens: int) -> np.ndarray:
        """Returns a layer's keys and values in host memory, the first tokens of them filled."""
        ...

    def append(self, layer: int, kv: np.ndarray, start: int) -> None:
        """Keeps keys and values of new tokens, from a position on."""
        ...


class HostStore:
    """Arrays in host memory."""

    def __init__(self, num_layers: int, shape: tuple[int, ...]) -> None:
        self._layers = [np.zeros(shape, np.float16) for _ in range(num_layers)]

    def read(self, layer: int, num_tokens: int) -> np.ndarray:
        """Returns a layer as it lies there."""
        return self._layers[layer]

    def append(self, layer: int, kv: np.ndarray, start: int) -> None:
        """Writes into the layer's array."""
        self._layers[layer][..., start : start + kv.shape[-2], :] = kv


class FileStore:
    """A memory-mapped file per layer, read into a buffer at each use at the rate of the drive's link.

    Two buffers take turns, so that one can be read into while the other one is still in use.
    """

    def __init__(self, num_layers: int, shape: tuple[int, ...], folder: Path, rates: Rates) -> None:
        self._files = [
            np.memmap(folder / f"layer{layer}.kv", np.float16, "w+", shape=shape)
            for layer in range(num_layers)
        ]
        self._buffers = [np.zeros(shape, np.float16) for _ in range(2)]
        self._turn = 0
        self._rates = rates

    def read(self, layer: int, num_tokens: int) -> np.ndarray:
        """Reads the tokens that are there out of the file."""
        buffer = self._buffers[self._turn]
        self._turn = 1 - self._turn
        wanted = self._files[layer][..., :num_tokens, :]
        with at_least(wanted.nbytes / self._rates.drive_link_bytes_per_s):
            buffer[..., :num_tokens, :] = wanted
        return buffer

    def append(self, layer: int, kv: np.ndarray, start: int) -> None:
        """Writes into the file."""
        with at_least(kv.nbytes / self._rates.drive_link_bytes_per_s):
            self._files[layer][..., start : start + kv.shape[-2], :] = kv
