"""The sums of V that sparse attention needs for the mean of V, kept in drive memory as tokens come and go."""

import numpy as np

from runtime.csd.errors import DriveError
from runtime.csd.task import Task


class ValueSums:
    """One float32 sum over the stored tokens of each sequence, KV head and channel of layers that keep K by channel.

    A token that decode appends is one float32 addition; a longer write is summed by itself first.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._layers: dict[int, np.ndarray] = {}

    def layer(self, layer: int) -> np.ndarray:
        """Returns a layer's sums, float32 ``[rows, kv_heads, head_size]``.

        Raises:
            DriveError: The layer keeps none.
        """
        task = self._task
        if not task.keeps_channels(layer):
            raise DriveError(
                f"sums of V are kept along with channel pages only, and layer {layer} has none; configure a channel_group"
            )
        if layer not in self._layers:
            shape = (task.rows(layer), task.kv_heads(layer), task.head_size)
            self._layers[layer] = np.zeros(shape, np.float32)
        return self._layers[layer]

    def add(self, layer: int, row: int, value: np.ndarray) -> None:
        """Adds tokens of one sequence, uint8 ``[kv_heads, tokens, token_bytes]``."""
        if self._task.keeps_channels(layer):
            self.layer(layer)[row] += self._widened(value).sum(axis=1)

    def add_one(self, layer: int, rows: np.ndarray, value: np.ndarray) -> None:
        """Adds one token to each of several sequences, uint8 ``[n, kv_heads, token_bytes]``, each sequence once."""
        if self._task.keeps_channels(layer):
            self.layer(layer)[rows] += self._widened(value)

    def clear(self, layer: int, row: int) -> None:
        """Forgets the tokens of a sequence."""
        if self._task.keeps_channels(layer):
            self.layer(layer)[row] = 0.0

    def _widened(self, value: np.ndarray) -> np.ndarray:
        """Returns bytes of V as float32, ``[..., head_size]``."""
        return np.ascontiguousarray(value).view(self._task.dtype).astype(np.float32)
