"""The second copy of K, by channel: whole channel groups are made once all of their tokens are in flash."""

import numpy as np

from runtime.csd.ftl import KEY, Ftl
from runtime.csd.task import Task
from runtime.csd.traffic import Traffic

_WORDS = {2: np.dtype(np.uint16), 4: np.dtype(np.uint32)}


def by_channel(task: Task, key: np.ndarray) -> np.ndarray:
    """Returns whole channel groups of K in the layout of channel pages.

    Args:
        task: Shape of the cache.
        key: uint8 ``[kv_heads, n * channel_tokens, token_bytes]``.

    Returns:
        uint8 ``[n, kv_heads, channel_pages, channel_group * channel_tokens * itemsize]``.
    """
    words = np.ascontiguousarray(key).view(_WORDS[task.dtype.itemsize])
    heads = len(words)
    groups = words.reshape(
        heads, -1, task.channel_tokens, task.channel_pages, task.head_size // task.channel_pages
    )
    pages = np.ascontiguousarray(groups.transpose(1, 0, 3, 4, 2))
    return pages.reshape(*pages.shape[:3], -1).view(np.uint8)


class ChannelCopy:
    """Makes the channel groups of one task, in the layers that keep K by channel.

    K comes from the write that brought it where it brought the whole group; else it is read back from token pages, in
    the background. So the copy costs no drive memory while its tokens gather. Of tokens whose page was reclaimed
    there is nothing to read back, and zeros take their place.
    """

    def __init__(self, task: Task, ftl: Ftl) -> None:
        self._task = task
        self._ftl = ftl

    def complete(self, layer: int, row: int, start: int, key: np.ndarray, traffic: Traffic) -> None:
        """Programs the channel groups of a sequence whose last token has reached flash.

        Args:
            layer: Layer.
            row: Sequence.
            start: Token at which the running write began.
            key: What it brought, uint8 ``[kv_heads, tokens, token_bytes]``.
            traffic: Counters of the running command.
        """
        task = self._task
        if not task.keeps_channels(layer):
            return
        size = task.channel_tokens
        first = int(self._ftl.num_channel_groups[layer, row])
        last = int(self._ftl.num_groups[layer, row]) * task.group_tokens // size
        reclaimed = int(self._ftl.first_group[layer, row]) * task.group_tokens // size
        if first < reclaimed:
            first = self._ftl.num_channel_groups[layer, row] = reclaimed
        fresh = min(max(first, -(-start // size)), last)  # from here on, the write brought the whole group
        if first < fresh:
            old = self._read_back(layer, row, first * size, fresh * size, traffic)
            self._ftl.append_channels(layer, row, first, by_channel(task, old), traffic)
        if fresh < last:
            new = key[:, fresh * size - start : last * size - start]
            self._ftl.append_channels(layer, row, fresh, by_channel(task, new), traffic)

    def complete_rows(self, layer: int, rows: np.ndarray, traffic: Traffic) -> None:
        """Does so for sequences ``[n]`` of which the running command brought no whole channel group."""
        task = self._task
        if not task.keeps_channels(layer):
            return
        whole = self._ftl.num_groups[layer, rows] * task.group_tokens // task.channel_tokens
        nothing = np.empty((task.kv_heads(layer), 0, task.token_bytes), np.uint8)
        for row in rows[whole > self._ftl.num_channel_groups[layer, rows]].tolist():
            self.complete(layer, row, task.max_len, nothing, traffic)

    def _read_back(self, layer: int, row: int, first: int, last: int, traffic: Traffic) -> np.ndarray:
        """Returns K of tokens ``first`` to ``last`` (exclusive), uint8 ``[kv_heads, tokens, token_bytes]``."""
        size = self._task.group_tokens
        begin, end = first // size, -(-last // size)
        there = max(begin, int(self._ftl.first_group[layer, row]))
        groups = self._ftl.read_back(layer, row, KEY, there, end, traffic)
        tokens = groups.reshape(len(groups), -1, self._task.token_bytes)
        missing = (there - begin) * size
        tokens = np.pad(tokens, ((0, 0), (missing, 0), (0, 0))) if missing else tokens
        return tokens[:, first - begin * size : last - begin * size]
