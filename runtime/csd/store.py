"""The stored KV cache: tokens go through the group buffer into pages, and come back from both."""

import numpy as np

from runtime.csd.block_share import BlockShare
from runtime.csd.channel_copy import ChannelCopy
from runtime.csd.errors import DriveError
from runtime.csd.ftl import VALUE, Ftl
from runtime.csd.group_buffer import GroupBuffer
from runtime.csd.nand import NandArray
from runtime.csd.stripe import Stripe
from runtime.csd.task import Task
from runtime.csd.traffic import Traffic
from runtime.csd.value_sums import ValueSums


class KvStore:
    """Appends, truncates and reads the sequences of one task.

    Keys and values are raw bytes here: uint8 with a token's bytes on the last axis.

    Attributes:
        task: Shape of the cache.
        ftl: Where the full groups are.
        buffer: The other tokens.
        first_tokens: int64 ``[num_layers, batch]``, the oldest token of each sequence; those before it are reclaimed.
    """

    def __init__(self, task: Task, nand: NandArray, stripe: Stripe, share: BlockShare) -> None:
        self.task = task
        self.buffer = GroupBuffer(task)
        self.ftl = Ftl(nand, task, stripe, share)
        self.first_tokens = np.zeros((task.num_layers, task.batch_size), np.int64)
        self._channel_copy = ChannelCopy(task, self.ftl)
        self._value_sums = ValueSums(task)

    def lengths(self, layer: int) -> np.ndarray:
        """Returns the length of each sequence, reclaimed tokens included, int64 ``[batch]``."""
        return self.ftl.num_groups[layer] * self.task.group_tokens + self.buffer.fill[layer]

    def value_sums(self, layer: int) -> np.ndarray:
        """Returns the sum of V over the tokens stored, float32 ``[rows, kv_heads, head_size]``.

        Raises:
            DriveError: The layer has no channel pages, hence no sums.
        """
        return self._value_sums.layer(layer)

    def check_append(self, layer: int, rows: np.ndarray, start: np.ndarray, count: np.ndarray) -> None:
        """Requires that ``count`` tokens at ``start`` leave no gap, keep no reclaimed token, and fit.

        Raises:
            DriveError: They do not.
        """
        stored, oldest = self.lengths(layer)[rows], self.first_tokens[layer, rows]
        for row, at, more, have, first in zip(
            rows.tolist(), start.tolist(), count.tolist(), stored.tolist(), oldest.tolist(), strict=True
        ):
            if not 0 <= at <= have:
                raise DriveError(
                    f"write at token {at} of sequence {row}, layer {layer}, which has {have} tokens; "
                    f"start at {have} to append or below to rewrite"
                )
            if 0 < at < first:
                raise DriveError(
                    f"write at token {at} of sequence {row}, layer {layer}, whose tokens before {first} are reclaimed; "
                    f"start at 0 to begin anew, or at {first} or later"
                )
            if at + more > self.task.max_len:
                raise DriveError(
                    f"sequence {row} would have {at + more} tokens, the drive is configured for "
                    f"{self.task.max_len}; configure a larger max_len"
                )
            self.check_pages(layer, row, at, at + more)

    def check_pages(self, layer: int, row: int, *ends: int) -> None:
        """Requires that a layer without a group buffer begins and ends with whole pages.

        Raises:
            DriveError: One of ``ends``, in tokens, is inside of a page.
        """
        size = self.task.group_tokens
        if not self.task.gathers(layer) and any(end % size for end in ends):
            raise DriveError(
                f"sequence {row}, layer {layer}, would end at token {max(ends)}, inside of a page of {size} tokens, and the "
                "layer has no group buffer; give whole pages, or set the layer in layer_gathers"
            )

    def append(self, layer: int, row: int, key: np.ndarray, value: np.ndarray, traffic: Traffic) -> None:
        """Appends tokens of one sequence; full groups go to pages, the rest waits in the buffer.

        Args:
            layer: Layer.
            row: Sequence.
            key: uint8 ``[kv_heads, tokens, token_bytes]``.
            value: The same shape.
            traffic: Counters of the running command.
        """
        group = self.task.group_tokens
        self.flush_full(layer, np.array([row]), traffic)
        start = int(self.lengths(layer)[row])
        data = np.stack([key, value], axis=1)
        waiting = int(self.buffer.fill[layer, row])
        head = min(data.shape[2], group - waiting) if waiting else 0
        if head:
            self._put(layer, row, data[:, :, :head], traffic)
            self.flush_full(layer, np.array([row]), traffic)
        full = (data.shape[2] - head) // group
        tail = head + full * group
        if full:
            groups = data[:, :, head:tail].reshape(*data.shape[:2], full, group, self.task.token_bytes)
            numbers = int(self.ftl.num_groups[layer, row]) + np.arange(full)
            self.ftl.append(layer, np.full(full, row), numbers, groups.transpose(2, 0, 1, 3, 4), traffic)
        if tail < data.shape[2]:
            self._put(layer, row, data[:, :, tail:], traffic)
        self._value_sums.add(layer, row, value)
        self._channel_copy.complete(layer, row, start, key, traffic)

    def append_one(
        self, layer: int, rows: np.ndarray, key: np.ndarray, value: np.ndarray, traffic: Traffic
    ) -> None:
        """Appends one token to each sequence, leaving groups that it fills in the buffer.

        Args:
            layer: Layer.
            rows: Sequences, int64 ``[n]``, each once.
            key: uint8 ``[n, kv_heads, token_bytes]``.
            value: The same shape.
            traffic: Counters of the running command.
        """
        self.flush_full(layer, rows, traffic)
        self.buffer.put_one(layer, rows, key, value)
        self._value_sums.add_one(layer, rows, value)
        traffic.dram_bytes += key.nbytes + value.nbytes

    def flush_full(self, layer: int, rows: np.ndarray, traffic: Traffic) -> None:
        """Programs the groups that are full in the buffer, and the channel groups that are whole then."""
        full = rows[self.buffer.fill[layer, rows] == self.task.group_tokens]
        if full.size:
            groups = self.ftl.num_groups[layer, full]
            self.ftl.append(layer, full, groups, self.buffer.layer(layer)[full], traffic)
            self.buffer.fill[layer, full] = 0
            self._channel_copy.complete_rows(layer, full, traffic)

    def truncate(self, layer: int, row: int, length: int, traffic: Traffic) -> None:
        """Drops the tokens of a sequence from ``length`` on; a sequence of length 0 begins anew.

        Where the cut is inside a page, its older tokens go back to the buffer: the one case that programs
        tokens a second time.
        """
        if length == 0:
            self.first_tokens[layer, row] = 0
        if length >= int(self.lengths(layer)[row]):
            return
        group = self.task.group_tokens
        kept, rest = divmod(length, group)
        stored = int(self.ftl.num_groups[layer, row])
        if kept >= stored:
            self.buffer.truncate(layer, row, length - stored * group)
        else:
            partial = self.ftl.read(layer, row, kept, kept + 1, traffic)[:, :, 0, :rest] if rest else None
            self.buffer.truncate(layer, row, 0)
            self.ftl.truncate(layer, row, kept, traffic)
            if partial is not None:
                self._put(layer, row, partial, traffic)
        self._sum_again(layer, row, traffic)

    def drop_front(self, layer: int, row: int, first: int, traffic: Traffic) -> None:
        """Drops the tokens of a sequence before ``first``, which it has more than; frees whole pages, copies nothing."""
        self.first_tokens[layer, row] = first
        self.ftl.drop_front(layer, row, first, traffic)
        self._sum_again(layer, row, traffic)

    def check_kept(self, layer: int, rows: np.ndarray, first: np.ndarray, last: np.ndarray) -> None:
        """Requires that none of tokens ``first`` to ``last`` (exclusive), each int64 ``[n]``, is reclaimed.

        Raises:
            DriveError: One is.
        """
        kept = self.first_tokens[layer, rows]
        wrong = np.flatnonzero((first < kept) & (first < last))
        if wrong.size:
            index = wrong[0]
            raise DriveError(
                f"tokens {int(first[index])} to {int(last[index])} of sequence {int(rows[index])}, layer {layer}, are "
                f"wanted, and those before {int(kept[index])} are reclaimed; begin at {int(kept[index])} or later, by a "
                "window or a first token, or write the sequence again"
            )

    def read(
        self,
        layer: int,
        rows: np.ndarray,
        first: np.ndarray,
        lengths: np.ndarray,
        num_tokens: int,
        traffic: Traffic,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reads tokens ``first`` to ``lengths`` (exclusive) of sequences, none of which is reclaimed.

        Args:
            layer: Layer.
            rows: Sequences, int64 ``[n]``.
            first: int64 ``[n]``.
            lengths: int64 ``[n]``, at most the tokens stored and ``num_tokens``.
            num_tokens: Tokens on the padded axis.
            traffic: Counters of the running command.

        Returns:
            Keys and values, ``[n, kv_heads, num_tokens, head_size]`` of the KV dtype, zeros outside of what was asked.
        """
        task = self.task
        shape = (len(rows), task.kv_heads(layer), num_tokens, task.head_size)
        pair = (np.zeros(shape, task.dtype), np.zeros(shape, task.dtype))
        views = tuple(array.view(np.uint8) for array in pair)
        size = task.group_tokens
        for index, (row, begin, end) in enumerate(
            zip(rows.tolist(), first.tolist(), lengths.tolist(), strict=True)
        ):
            in_flash = int(self.ftl.num_groups[layer, row]) * size
            paged = min(end, in_flash)
            if begin < paged:
                groups = begin // size
                data = self.ftl.read(layer, row, groups, -(-paged // size), traffic)
                tokens = data.reshape(*data.shape[:2], -1, task.token_bytes)
                for side, view in enumerate(views):
                    part = slice(begin - groups * size, paged - groups * size)
                    view[index, :, begin:paged] = tokens[:, side, part]
            if end > max(begin, in_flash):
                waits = max(begin, in_flash)
                tokens = self.buffer.waiting(layer, row)[:, :, waits - in_flash : end - in_flash]
                traffic.dram_bytes += tokens.nbytes
                for side, view in enumerate(views):
                    view[index, :, waits:end] = tokens[:, side]
        return pair

    def _put(self, layer: int, row: int, data: np.ndarray, traffic: Traffic) -> None:
        self.buffer.put(layer, row, data)
        traffic.dram_bytes += data.nbytes

    def _sum_again(self, layer: int, row: int, traffic: Traffic) -> None:
        """Sums V over the tokens that a sequence still has."""
        if not self.task.keeps_channels(layer):
            return
        self._value_sums.clear(layer, row)
        first, last = int(self.ftl.first_group[layer, row]), int(self.ftl.num_groups[layer, row])
        values = self.buffer.waiting(layer, row)[:, VALUE]
        if first < last:
            paged = self.ftl.read_back(layer, row, VALUE, first, last, traffic)
            values = np.concatenate([paged.reshape(len(paged), -1, self.task.token_bytes), values], axis=1)
        reclaimed = int(self.first_tokens[layer, row]) - first * self.task.group_tokens
        self._value_sums.add(layer, row, values[:, reclaimed:])
