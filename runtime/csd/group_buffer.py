"""The group buffer: drive memory where tokens gather until they fill a page."""

import numpy as np

from runtime.csd.task import Task


class GroupBuffer:
    """One group for each layer, sequence, KV head, and K or V.

    Attributes:
        fill: int64 ``[num_layers, batch]``, tokens that wait.
    """

    def __init__(self, task: Task) -> None:
        self.fill = np.zeros((task.num_layers, task.batch_size), np.int64)
        self._task = task
        self._layers: dict[int, np.ndarray] = {}

    def layer(self, layer: int) -> np.ndarray:
        """Returns a layer's buffer, uint8 ``[rows, kv_heads, 2, group_tokens, token_bytes]``, contiguous."""
        if layer not in self._layers:
            task = self._task
            shape = (task.rows(layer), task.kv_heads(layer), 2, task.group_tokens, task.token_bytes)
            self._layers[layer] = np.empty(shape, np.uint8)
        return self._layers[layer]

    def put(self, layer: int, row: int, data: np.ndarray) -> None:
        """Adds tokens of one sequence, uint8 ``[kv_heads, 2, tokens, token_bytes]``; there must be room."""
        first = int(self.fill[layer, row])
        self.layer(layer)[row, :, :, first : first + data.shape[2]] = data
        self.fill[layer, row] += data.shape[2]

    def put_one(self, layer: int, rows: np.ndarray, key: np.ndarray, value: np.ndarray) -> None:
        """Adds one token to each of several sequences.

        Args:
            layer: Layer of the token.
            rows: Sequences, int64 ``[n]``, each once and with room.
            key: uint8 ``[n, kv_heads, token_bytes]``.
            value: The same shape.
        """
        position = self.fill[layer, rows]
        self.layer(layer)[rows, :, 0, position] = key
        self.layer(layer)[rows, :, 1, position] = value
        self.fill[layer, rows] += 1

    def waiting(self, layer: int, row: int) -> np.ndarray:
        """Returns a sequence's tokens, uint8 ``[kv_heads, 2, tokens, token_bytes]``, as a view."""
        return self.layer(layer)[row, :, :, : self.fill[layer, row]]

    def truncate(self, layer: int, row: int, tokens: int) -> None:
        """Keeps the oldest ``tokens`` of a sequence's waiting tokens."""
        self.fill[layer, row] = min(tokens, int(self.fill[layer, row]))
