"""What a stack's software costs: bringing caches to the GPU, engines whose arithmetic shows, and time of layers.

Where the hardware has no ``[software]`` table, nothing of this takes time, and caches move as links let them.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cost_models import Cost, DriveSpec, sequential
from partitioner.ir.op import Attention, Op

if TYPE_CHECKING:
    from partitioner.costing import Costing


@dataclass(frozen=True)
class CacheFetch:
    """Says what it takes to bring a part of a cache to the GPU.

    Attributes:
        link_bytes: Bytes that cross links.
        flash_bytes: Bytes of the flash pages that are read for it.
        from_drive: Whether a drive takes part; not where the host's page cache holds what lives on one.
        host_s: Seconds of the host's software.
    """

    link_bytes: float
    flash_bytes: float
    from_drive: bool
    host_s: float


def cache_fetch(
    costing: Costing, attention: Attention, tokens: int, home: str, fraction: float = 1.0
) -> CacheFetch:
    """Returns what it takes to bring ``tokens`` tokens of a cache from its home to the GPU.

    Args:
        costing: Answers what things cost, under a policy's stack.
        attention: Whose cache it is.
        tokens: Tokens of each row.
        home: Tier where the cache lives.
        fraction: Part of the rows and KV heads.
    """
    wanted = read = costing.kv_bytes(attention, tokens, fraction)
    pages = costing.flash_bytes(attention, tokens, fraction) if home == "csd" else 0.0
    software, stack = costing.hw.software, costing.stack
    if stack.sparse and attention.source is None:
        asked = _asked_sparsely(costing, attention)
        if asked.sparsity is not None:
            wanted *= asked.sparsity.entries_share(asked.head_size, tokens)
        if home == "csd":
            read = pages = costing.attended_bytes(asked, tokens, fraction)
    if software is None or attention.source is not None:
        return CacheFetch(read, pages, home == "csd", 0.0)
    match stack.source:
        case "host-copy" if home == "host":
            swapped = _outgrows_host(costing, attention, software.host_bytes_per_kv_byte)
            return CacheFetch(read, pages, False, software.host_copy_s(wanted, swapped=swapped))
        case "page-cache" | "files" if home == "csd":
            held = stack.source == "page-cache" and not _outgrows_host(costing, attention, 1.0)
            missed = 0.0 if held else read
            link = costing.hw.link(costing.hw.ports["csd0"][0]).bytes_per_s
            host_s = software.file_read_s(wanted, missed, link)
            return CacheFetch(wanted if held else read, 0.0 if held else pages, not held, host_s)
        case _:
            return CacheFetch(read, pages, home == "csd", 0.0)


def layer_s(costing: Costing, op: Op, phase: str) -> float:
    """Returns the stack's seconds for the layer of an op in a decode step; they count once a layer, with its attention."""
    software = costing.hw.software
    return software.layer_s if software and op.attention and phase == "decode" else 0.0


def drive_of(costing: Costing, name: str) -> DriveSpec:
    """Returns a drive as the stack reads it."""
    drive, software = costing.hw.drive(name), costing.hw.software
    return drive if software is None else software.drive(drive)


def with_engine(costing: Costing, cost: Cost, flops: float) -> Cost:
    """Returns the time of an attention in a drive with the arithmetic that does not hide behind its reads."""
    software = costing.hw.software
    return cost if software is None else sequential([cost, Cost(software.engine_s(flops), "compute")])


def _outgrows_host(costing: Costing, attention: Attention, held_per_byte: float) -> bool:
    """Tells whether all caches at their longest are more than host memory; read in turns, they are then never there.

    Caches of other layers are taken to be like this one.
    """
    longest = costing.kv_bytes(attention, costing.workload.max_len) * costing.micro_batches
    return longest * costing.num_layers * held_per_byte > costing.hw.host.memory_bytes


def _asked_sparsely(costing: Costing, attention: Attention) -> Attention:
    """Returns an attention with the sparsity that the workload asks of its layer."""
    sparsity = costing.workload.sparsity
    if isinstance(sparsity, tuple):
        sparsity = sparsity[attention.layer]
    return dataclasses.replace(attention, sparsity=sparsity)
