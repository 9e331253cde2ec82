"""Answers to identify and health."""

import numpy as np

from cost_models.hardware import DriveSpec
from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.nand import NandArray
from runtime.csd.records import HealthReport, Identity
from runtime.csd.sparse import StepCounts
from runtime.csd.store import KvStore
from runtime.csd.throttle import Throttle


def identify(name: str, spec: DriveSpec, nand: NandArray, store: KvStore | None) -> Identity:
    """Returns what a drive is."""
    geometry = nand.geometry
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
        task=None if store is None else store.task,
    )


def report_health(
    nand: NandArray,
    free: FreeBlocks,
    throttle: Throttle,
    store: KvStore | None,
    host_bytes: int,
    steps: StepCounts,
    *,
    scan: bool,
) -> HealthReport:
    """Returns a drive's counters and state.

    Args:
        nand: The flash.
        free: Its erased blocks.
        throttle: The emulated resources.
        store: The configured cache, if any.
        host_bytes: Bytes of keys and values that commands brought.
        steps: What sparse attention read.
        scan: Also reads back every stored page against its checksum.
    """
    geometry = nand.geometry
    waiting = np.zeros(0, np.int64) if store is None else store.buffer.fill.sum(axis=1)
    usable_pages = geometry.num_pages - free.num_retired * geometry.pages_per_block
    scanned = store.ftl.valid_pages() if scan and store is not None else np.zeros(0, np.int64)
    return HealthReport(
        pages_read=nand.pages_read,
        pages_programmed=nand.pages_programmed,
        blocks_erased=nand.blocks_erased,
        bytes_written_by_host=host_bytes,
        bytes_programmed=nand.pages_programmed * geometry.page_bytes,
        wear_min=int(nand.wear.min()),
        wear_mean=float(nand.wear.mean()),
        wear_max=int(nand.wear.max()),
        free_bytes=(usable_pages - int(nand.next_page.sum(dtype=np.int64))) * geometry.page_bytes,
        buffered_tokens=int(waiting.sum()),
        buffered_bytes=_buffered_bytes(store, waiting),
        channel_busy_s=tuple(channel.busy_s for channel in throttle.channels),
        program_busy_s=tuple(planes.busy_s for planes in throttle.planes),
        engine_busy_s=throttle.engine.busy_s,
        pages_scanned=len(scanned),
        checksum_errors=len(nand.verify(scanned)),
        read_retries=throttle.read_retries,
        uncorrectable_pages=nand.uncorrectable_pages,
        program_failures=nand.program_failures,
        retired_blocks=free.num_retired,
        pages_step_one=steps.pages_step_one,
        pages_step_two=steps.pages_step_two,
        entries_bytes=steps.entries_bytes,
    )


def _buffered_bytes(store: KvStore | None, waiting: np.ndarray) -> int:
    """Returns the bytes of the tokens of each layer, int64 ``[num_layers]``, that wait in the buffer."""
    if store is None:
        return 0
    task = store.task
    heads = sum(int(tokens) * task.kv_heads(layer) for layer, tokens in enumerate(waiting))
    return heads * 2 * task.token_bytes
