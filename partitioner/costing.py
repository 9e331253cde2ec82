"""What ops and moves cost on a hardware description: the one place where the partitioner asks the cost models."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from cost_models import (
    ComputeSpec,
    Cost,
    HardwareSpec,
    attend_cost,
    attend_flops,
    collective_cost,
    flash_read_cost,
    flash_write_cost,
    processor_attend_cost,
    sequential,
    slowest,
    sparse_attend_cost,
    sparse_attend_flops,
)
from partitioner.cut_costs import cut_attend_cost
from partitioner.drive_cache import DriveCache, drive_cache_of
from partitioner.emulation_costs import as_emulated, hand_over_s
from partitioner.ir.op import Attention, Op
from partitioner.ir.tensor_parallel import Collective
from partitioner.jaxpr import itemsize, num_bytes
from partitioner.processor_cost import processor_cost
from partitioner.share_part import share_part
from partitioner.shares import Share, even_shares, with_newest
from partitioner.sparsity import SparF
from partitioner.split_grid import Split, SplitGrid
from partitioner.stack import LINKS, Stack
from partitioner.stack_costs import cache_fetch, drive_of, with_engine
from partitioner.tier_links import Tier, TierLinks
from partitioner.workload import Workload


@dataclass(frozen=True)
class Costing:
    """Answers cost questions for one hardware description and workload.

    A *tier* is all devices of a kind: GPUs of one host act as one (weights and heads split evenly among them), and drives share
    every attention by KV heads.

    Attributes:
        hw: The hardware.
        workload: The workload.
        via_host: Send everything through host memory, as stacks without peer-to-peer transfers do.
        micro_batches: Parts of the batch that decode independently of each other.
        stack: What the policy's system does in software.
        num_layers: Attentions of the model, whose caches share memories.
    """

    hw: HardwareSpec
    workload: Workload
    via_host: bool = False
    micro_batches: int = 1
    stack: Stack = LINKS
    num_layers: int = 1

    @property
    def rows(self) -> int:
        """Returns the batch rows of one decode step of one micro-batch."""
        return self.workload.batch_size // self.micro_batches

    def of_micro_batches(self, micro_batches: int) -> Costing:
        """Returns the same for another number of micro-batches; it knows what it was asked before."""
        if micro_batches == self.micro_batches:
            return self
        if micro_batches not in self._others:
            self._others[micro_batches] = dataclasses.replace(self, micro_batches=micro_batches)
        return self._others[micro_batches]

    @cached_property
    def _others(self) -> dict[int, Costing]:
        return {}

    @cached_property
    def links(self) -> TierLinks:
        """Returns what answers for transfers between tiers."""
        return TierLinks(self.hw, self.via_host)

    @cached_property
    def processors(self) -> Mapping[Tier, ComputeSpec]:
        """Holds the processor of each tier; several GPUs are one with their rates and memories added up."""
        gpu, count = self.hw.gpus[0], len(self.hw.gpus)
        if count > 1:
            gpu = dataclasses.replace(
                gpu,
                memory_bytes=gpu.memory_bytes * count,
                memory_bytes_per_s=gpu.memory_bytes_per_s * count,
                peak_flops={k: v * count for k, v in gpu.peak_flops.items()},
            )
        return {"gpu": gpu, "host": self.hw.host}

    def capacity_bytes(self, tier: Tier) -> float:
        """Returns the memory of all devices of a tier."""
        if tier == "csd":
            return float(sum(d.flash.capacity_bytes for d in self.hw.drives))
        swap = 0.0
        if tier == "host" and self.hw.software is not None and self.stack.source == "host-copy":
            swap = self.capacity_bytes("csd")  # what outgrows host memory is swapped out to the drives
        return self.processors[tier].memory_bytes + swap

    def can_attend(self) -> bool:
        """Tells whether there are drives with an engine."""
        return bool(self.hw.drives) and all(d.engine is not None for d in self.hw.drives)

    def run_cost(self, op: Op, tier: Tier, scale: float = 1.0, weight_bytes: float = 0.0) -> Cost:
        """Returns the time of one execution of an op's own equations on a processor.

        Args:
            op: The op.
            tier: Where.
            scale: Rows over the rows it was traced with.
            weight_bytes: Bytes of weights among those it reads, which rows do not change.
        """
        demand = (op.work, op.remakes, op.repeated, op.collectives, op.dtype)
        key = (demand, tier, scale, weight_bytes)
        cost = self._run_costs.get(key)
        if cost is None:
            cost = processor_cost(op, self.processors[tier], scale, weight_bytes, whole=tier == "gpu")
            exchange_s = self.exchange_s(op.collectives, scale) if tier == "gpu" else 0.0
            cost = sequential([cost, Cost(exchange_s, "link")]) if exchange_s else cost
            self._run_costs[key] = cost
        return cost

    def exchange_s(self, collectives: Iterable[Collective], scale: float = 1.0) -> float:
        """Returns the time in which several GPUs exchange values, one after the other, ``scale`` times as large as traced."""
        return sum(collective_cost(self.hw, c.kind, c.num_bytes * scale).seconds for c in collectives)

    def launch_s(self, tier: Tier) -> float:
        """Returns the overhead of starting a segment."""
        return 0.0 if tier == "csd" else self.processors[tier].launch_s

    def shares(self, attention: Attention) -> tuple[Share, ...]:
        """Returns how the drives share an attention."""
        return even_shares(self.links.drives, self.rows, attention.num_kv_heads)

    def grid(self, attention: Attention) -> SplitGrid:
        """Returns the units in which an attention may be split over tiers."""
        return SplitGrid.of(self.rows, attention.num_kv_heads)

    def split_shares(self, attention: Attention, split: Split, newest: int = 0) -> tuple[Share, ...]:
        """Returns the shares of an attention that several tiers hold; the host may keep ``newest`` tokens of the drives'."""
        shares = self.grid(attention).shares(split, {tier: self.links.members(tier) for tier, _ in split})
        if not newest:
            return shares
        page = self.drive_cache(attention).group_tokens
        return with_newest(shares, self.links.drives, self.links.device("host"), newest, page)

    def share_attend_cost(self, attention: Attention, share: Share, context_len: int) -> Cost:
        """Returns the time one device takes for its share of one decode attention, links and launch left aside.

        A GPU runs one compiled program over room for the longest context; the host and the drives read valid tokens alone,
        of which a window leaves the newest.
        """
        if share.cut is not None:
            return cut_attend_cost(self, attention, share, share.cut, context_len)
        part = share_part(attention, share)
        tier = share.device.rstrip("0123456789")
        if tier == "csd":
            drive, is_exact = drive_of(self, share.device), attention.sparsity is None
            reads = None if is_exact else self.drive_cache(attention).reads(context_len)
            window, attended = attention.window, attention.tokens_seen(context_len)
            if reads is not None:
                cost = sparse_attend_cost(drive, context_len=context_len, window=window, reads=reads, **part)
                heads = share.num_rows * share.num_kv_heads * attention.group_size
                return with_engine(
                    self, cost, sparse_attend_flops(heads, attention.head_size, attended, reads)
                )
            cost = attend_cost(drive, context_len=context_len, window=window, **part)
            cost = as_emulated(self, attention, share, attended, cost)
            shape = (share.num_rows, share.num_kv_heads, attention.group_size, attention.head_size)
            return with_engine(self, cost, attend_flops(*shape, attended))
        tokens = self.workload.max_len if tier == "gpu" else attention.tokens_seen(context_len)
        dtype = "float32" if tier == "host" else attention.cache_dtype
        cost = processor_attend_cost(self.processors[tier], context_len=tokens, dtype=dtype, **part)
        num_gpus = len(self.hw.gpus) if tier == "gpu" else 1
        is_even = share.num_kv_heads % num_gpus == 0 or share.num_rows % num_gpus == 0
        return cost if is_even else cost * num_gpus  # every GPU attends to all of it

    def attend_cost(self, attention: Attention, context_len: int) -> Cost:
        """Returns the time until the last drive has done its share."""
        costs = [self.share_attend_cost(attention, s, context_len) for s in self.shares(attention)]
        return max(costs, key=lambda c: c.seconds)

    def drive_cache(self, attention: Attention) -> DriveCache:
        """Returns how an attention's cache lies in a drive."""
        return drive_cache_of(attention, self.hw, self._sparsities, self._decode_contexts)

    def attended_bytes(self, attention: Attention, context_len: int, fraction: float = 1.0) -> float:
        """Returns the bytes of the flash pages that drives read to attend for every row of a micro-batch."""
        return self.page_bytes(attention, self.drive_cache(attention).attend_pages(context_len)) * fraction

    def flash_bytes(self, attention: Attention, tokens: int, fraction: float = 1.0) -> float:
        """Returns the bytes in flash pages of ``tokens`` tokens of every row; the rest is in the drive's group buffer."""
        page = self.drive_cache(attention).group_tokens
        return self.kv_bytes(attention, tokens - tokens % page, fraction)

    def fetch_s(self, attention: Attention, tokens: int, home: Tier, tier: Tier) -> Cost:
        """Returns the time in which a cache comes from its home to where it is used, without latency."""
        fetch = cache_fetch(self, attention, tokens, home)
        over = "host" if home == "csd" and not fetch.from_drive else home
        link = Cost(self.links.transfer_s(fetch.link_bytes, over, tier), "link")
        flash = Cost(self.flash_read_s(fetch.flash_bytes) if fetch.from_drive else 0.0, "flash")
        return slowest((link, flash, Cost(fetch.host_s, "overhead")))

    def kv_bytes(self, attention: Attention, tokens: int, fraction: float = 1.0) -> float:
        """Returns the bytes of K and V of ``tokens`` tokens of every row of a micro-batch."""
        per_token = 2 * attention.num_kv_heads * attention.head_size * itemsize(attention.cache_dtype)
        return self.rows * tokens * per_token * fraction

    def cache_bytes(self, attention: Attention, tier: Tier) -> float:
        """Returns what the longest context of the whole batch occupies on a tier; drives keep whole pages.

        Several GPUs each keep all of a cache whose heads they cannot share evenly.
        """
        tokens = self.workload.max_len
        if tier == "csd":
            pages = self.drive_cache(attention).held_pages(tokens)
            return self.page_bytes(attention, pages) * self.micro_batches
        copies = 1
        if tier == "gpu" and not attention.can_share_heads(len(self.hw.gpus)):
            copies = len(self.hw.gpus)
        return self.kv_bytes(attention, tokens) * self.micro_batches * copies

    def hand_out_s(self, attention: Attention, tier: Tier, fraction: float) -> float:
        """Returns the time from the GPU to a tier and back of what a part of one decode attention reads and makes.

        Args:
            attention: As traced.
            tier: Where the part is; nothing is handed out on the GPU.
            fraction: The part, of the rows that were traced.
        """
        if tier == "gpu":
            return 0.0
        operands = (attention.query, attention.new_key, attention.new_value)
        there_s = self.links.transfer_s(sum(num_bytes(v) for v in operands) * fraction, "gpu", tier)
        back_s = self.links.transfer_s(num_bytes(attention.output) * fraction, tier, "gpu")
        latency_s = self.links.latency_s("gpu", tier) + self.links.latency_s(tier, "gpu")
        return there_s + back_s + latency_s + hand_over_s(self, tier)

    def flash_read_s(self, num_bytes: float) -> float:
        """Returns the time to read bytes spread evenly over all drives."""
        return flash_read_cost(self.hw.drives[0], num_bytes / len(self.hw.drives)).seconds

    def flash_write_s(self, num_bytes: float) -> float:
        """Returns the time to program bytes spread evenly over all drives."""
        return flash_write_cost(self.hw.drives[0], num_bytes / len(self.hw.drives)).seconds

    def page_bytes(self, attention: Attention, pages: float) -> float:
        """Returns the bytes of some pages for each row of a micro-batch and KV head."""
        return pages * self.rows * attention.num_kv_heads * self.hw.drives[0].flash.page_bytes

    @cached_property
    def _run_costs(self) -> dict[Hashable, Cost]:
        """Holds the costs of runs that were asked for; layers ask for the same ones."""
        return {}

    @cached_property
    def _sparsities(self) -> tuple[SparF, ...]:
        given = self.workload.sparsity
        return tuple(s for s in (given if isinstance(given, tuple) else (given,)) if s is not None)

    @cached_property
    def _decode_contexts(self) -> tuple[tuple[int, float], ...]:
        return self.workload.decode_contexts(with_prefill=True)
