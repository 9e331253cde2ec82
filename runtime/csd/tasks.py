"""The tasks of a drive: who reserved what, and where each keeps its cache."""

from collections.abc import Iterator

import numpy as np

from runtime.csd.block_share import BlockShare, FlashRoom
from runtime.csd.commands import Configure
from runtime.csd.errors import CapacityError, DriveError
from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.nand import NandArray
from runtime.csd.store import KvStore
from runtime.csd.stripe import Stripe
from runtime.csd.task import Task
from runtime.csd.traffic import Traffic


class Tasks:
    """One store for each configured task.

    Attributes:
        host_bytes: Bytes of keys and values that commands brought, of all tasks that ever were.
        due_bytes: The same, times the copies that their layers keep.
    """

    def __init__(self, nand: NandArray, free: FreeBlocks, dram_bytes: float) -> None:
        self.host_bytes = 0
        self.due_bytes = 0.0
        self._nand = nand
        self._free = free
        self._dram_bytes = dram_bytes
        self._stores: dict[int, KvStore] = {}

    def __iter__(self) -> Iterator[KvStore]:
        return iter([self._stores[number] for number in sorted(self._stores)])

    def store(self, number: int) -> KvStore:
        """Returns a task's store.

        Raises:
            DriveError: There is no such task.
        """
        if number in self._stores:
            return self._stores[number]
        if not self._stores:
            raise DriveError("no KV cache is configured; execute Configure first")
        raise DriveError(
            f"task {number} is not configured; execute Configure(task={number}) first, or use one of tasks "
            f"{', '.join(str(store.task.number) for store in self)}"
        )

    def configure(self, command: Configure, traffic: Traffic) -> Task:
        """Starts a task and returns it; one of the same number ends first, if the new one is accepted.

        Raises:
            DriveError: The shape breaks a rule.
            CapacityError: Flash or drive memory is too small, or reserved by other tasks.
        """
        task = task_of(command, self._nand.geometry.page_bytes)
        stripe = Stripe(self._nand.geometry, task, self._room(task.number))
        self._check_dram(task)
        if task.number in self._stores:
            self.release(task.number, traffic)
        share = BlockShare(self._free, stripe.blocks_needed())
        self._stores[task.number] = KvStore(task, self._nand, stripe, share)
        return task

    def release(self, number: int, traffic: Traffic) -> None:
        """Ends a task: all that it holds is dropped, and what it reserved is there for others.

        Raises:
            DriveError: There is no such task.
        """
        store = self.store(number)
        for layer in range(store.task.num_layers):
            for row in range(store.task.rows(layer)):
                store.truncate(layer, row, 0, traffic)
        store.ftl.share.release()
        del self._stores[number]

    def count_host_bytes(self, task: Task, layer: int, num_bytes: int) -> None:
        """Counts keys and values that a command brought to a layer."""
        self.host_bytes += num_bytes
        self.due_bytes += num_bytes * task.copies(layer)

    def _others(self, number: int) -> list[KvStore]:
        return [store for store in self if store.task.number != number]

    def _room(self, number: int) -> FlashRoom:
        """Returns what the flash has for a task, once the one of its number has ended."""
        room = self._free.erased - self._free.promised
        if number in self._stores:
            room += self._stores[number].ftl.share.claim
        others = {store.task.number: int(store.ftl.share.claim.sum()) for store in self._others(number)}
        return FlashRoom(room, others)

    def _check_dram(self, task: Task) -> None:
        """Requires drive memory for a task's group buffer, tables and sums beside those of the other tasks."""
        others = self._others(task.number)
        free_bytes = self._dram_bytes - sum(store.task.dram_bytes for store in others)
        if task.dram_bytes <= free_bytes:
            return
        held = ", ".join(f"task {store.task.number} has {store.task.dram_bytes}" for store in others)
        raise CapacityError(
            f"drive memory for {task.num_layers} layers x {task.batch_size} sequences x {task.num_kv_heads} heads is "
            f"{task.dram_bytes} bytes (group buffer {task.buffer_bytes}, mapping tables {task.mapping_bytes}, sums of V "
            f"{task.value_sum_bytes}); the drive has {int(self._dram_bytes)} bytes of DRAM"
            + (f", of which {held}. Release a task, lower" if held else ". Lower")
            + " the batch, use smaller pages, or spread the heads over more drives"
        )


def task_of(command: Configure, page_bytes: int) -> Task:
    """Returns the shape that a command asks for, in pages of ``page_bytes``.

    Raises:
        DriveError: The shape breaks a rule.
    """
    return Task(
        num_layers=command.num_layers,
        num_kv_heads=command.num_kv_heads,
        num_query_heads=command.num_query_heads,
        head_size=command.head_size,
        dtype=np.dtype(command.dtype),
        batch_size=command.batch_size,
        max_len=command.max_len,
        page_bytes=page_bytes,
        layer_kv_heads=command.layer_kv_heads or (),
        layer_rows=command.layer_rows or (),
        channel_group=command.channel_group,
        layer_by_channel=command.layer_by_channel or (),
        layer_gathers=command.layer_gathers or (),
        number=command.task,
    )
