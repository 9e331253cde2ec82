"""Answers to identify and health."""

import numpy as np

from cost_models.hardware import DriveSpec
from runtime.csd.busy_shares import BusyShares
from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.nand import NandArray
from runtime.csd.records import HealthReport, Identity, TaskIdentity
from runtime.csd.sparse import StepCounts
from runtime.csd.store import KvStore
from runtime.csd.tasks import Tasks
from runtime.csd.throttle import Throttle


def identify(name: str, spec: DriveSpec, nand: NandArray, tasks: Tasks) -> Identity:
    """Returns what a drive is and which tasks it has."""
    geometry = nand.geometry
    block_bytes = geometry.pages_per_block * geometry.page_bytes
    return Identity(
        name=name,
        capacity_bytes=geometry.capacity_bytes,
        page_bytes=geometry.page_bytes,
        channels=geometry.channels,
        units=geometry.num_units,
        blocks=geometry.num_blocks,
        pages_per_block=geometry.pages_per_block,
        rated_pe_cycles=spec.flash.rated_pe_cycles,
        dram_bytes=spec.dram_bytes,
        has_engine=spec.engine is not None,
        backing=nand.arena.backing,
        tasks=tuple(
            TaskIdentity(store.task, store.ftl.addresses, int(store.ftl.share.reserved.sum()) * block_bytes)
            for store in tasks
        ),
    )


def report_health(
    nand: NandArray,
    free: FreeBlocks,
    throttle: Throttle,
    tasks: Tasks,
    steps: StepCounts,
    busy_shares: BusyShares,
    *,
    scan: bool,
) -> HealthReport:
    """Returns a drive's counters and state.

    Args:
        nand: The flash.
        free: Its erased blocks.
        throttle: The emulated resources.
        tasks: What is stored.
        steps: What sparse attention read.
        busy_shares: How busy the emulated resources are.
        scan: Also reads back every mapped page, against its checksum and the address in its spare area.
    """
    geometry = nand.geometry
    usable_pages = geometry.num_pages - free.num_retired * geometry.pages_per_block
    block_bytes = geometry.pages_per_block * geometry.page_bytes
    stores = list(tasks)
    scanned = [_scan(nand, store) for store in stores] if scan else []
    return HealthReport(
        pages_read=nand.pages_read,
        pages_programmed=nand.pages_programmed,
        blocks_erased=nand.blocks_erased,
        bytes_written_by_host=tasks.host_bytes,
        bytes_due=round(tasks.due_bytes),
        bytes_programmed=nand.pages_programmed * geometry.page_bytes,
        wear_min=int(nand.wear.min()),
        wear_mean=float(nand.wear.mean()),
        wear_max=int(nand.wear.max()),
        capacity_bytes=geometry.capacity_bytes,
        free_bytes=(usable_pages - int(nand.next_page.sum(dtype=np.int64))) * geometry.page_bytes,
        valid_bytes=sum(store.ftl.num_valid for store in stores) * geometry.page_bytes,
        reserved_bytes=sum(int(store.ftl.share.claim.sum()) for store in stores) * block_bytes,
        dram_buffer_bytes=sum(store.task.buffer_bytes for store in stores),
        dram_mapping_bytes=sum(store.task.mapping_bytes for store in stores),
        dram_value_sum_bytes=sum(store.task.value_sum_bytes for store in stores),
        buffered_tokens=sum(int(store.buffer.fill.sum()) for store in stores),
        buffered_bytes=sum(_buffered_bytes(store) for store in stores),
        channel_busy_s=tuple(channel.busy_s for channel in throttle.channels),
        program_busy_s=tuple(planes.busy_s for planes in throttle.planes),
        engine_busy_s=throttle.engine.busy_s,
        busy_shares=busy_shares,
        pages_scanned=sum(pages for pages, _, _ in scanned),
        checksum_errors=sum(bad for _, bad, _ in scanned),
        misdirected_pages=sum(wrong for _, _, wrong in scanned),
        read_retries=throttle.read_retries,
        uncorrectable_pages=nand.uncorrectable_pages,
        program_failures=nand.program_failures,
        retired_blocks=free.num_retired,
        pages_step_one=steps.pages_step_one,
        pages_step_two=steps.pages_step_two,
        entries_bytes=steps.entries_bytes,
    )


def _scan(nand: NandArray, store: KvStore) -> tuple[int, int, int]:
    """Returns a task's mapped pages, those that fail their checksum, and those whose address is another."""
    ppns, addresses = store.ftl.mapped()
    wrong = np.count_nonzero(nand.addresses(ppns) != addresses)
    return len(ppns), len(nand.verify(ppns)), int(wrong)


def _buffered_bytes(store: KvStore) -> int:
    """Returns the bytes of a task's tokens that wait in the buffer."""
    task = store.task
    waiting = store.buffer.fill.sum(axis=1).tolist()
    heads = sum(tokens * task.kv_heads(layer) for layer, tokens in enumerate(waiting))
    return heads * 2 * task.token_bytes
