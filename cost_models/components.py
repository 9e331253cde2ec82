"""Parts that a system is built from: processors, flash, in-storage engines, drives and links.

All values are SI: bytes, seconds, bytes per second, floating-point operations per second (FLOP/s).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from cost_models.checks import (
    reject,
    require_count,
    require_flag,
    require_fraction,
    require_name,
    require_non_negative,
    require_positive,
    require_powers,
    require_price,
)
from cost_models.errors import HardwareError
from cost_models.faults import FaultSpec
from cost_models.frozen_mapping import FrozenMapping


@dataclass(frozen=True, kw_only=True)
class ComputeSpec:
    """A processor with its own memory: a GPU or the host.

    Attributes:
        name: What it is, for people.
        kind: ``"gpu"`` or ``"host"``.
        memory_bytes: Capacity of its memory; zero for a processor that may hold nothing.
        memory_bytes_per_s: Peak rate of its memory.
        peak_flops: Peak FLOP/s by dtype name, such as ``{"float16": 154.8e12}``.
        launch_s: Overhead of dispatching one segment.
        memory_efficiency: Share of the peak memory rate that streaming code reaches.
        compute_efficiency: Share of peak FLOP/s that large matrix products reach.
        emulated: True where the runtime throttles this device down to these rates.
        attention_efficiency: Share of the peak memory rate at which decode attention reads its share of a KV cache; None where
            it is that of other streaming code. On the host it is that of a kernel for nothing else.
        kernel_s: Least time of each kernel of a program that is running: its start, its end and what its memory pipeline takes
            to fill. Bytes at ``memory_efficiency`` come on top.
        matvec_s: What a product of one matrix with one vector takes beyond any other kernel that reads as much: it has few
            results, and too few processors read for them.
        price_usd: What it costs to buy, in US dollars; the host's price includes its memory, board and chassis.
        idle_w: Watts while it waits.
        active_w: Watts while it works.
    """

    name: str
    kind: str
    memory_bytes: float
    memory_bytes_per_s: float
    peak_flops: Mapping[str, float]
    launch_s: float
    memory_efficiency: float
    compute_efficiency: float
    emulated: bool = False
    attention_efficiency: float | None = None
    kernel_s: float = 0.0
    matvec_s: float = 0.0
    price_usd: float | None = None
    idle_w: float | None = None
    active_w: float | None = None

    def __post_init__(self) -> None:
        require_name("name", self.name)
        if self.kind not in ("gpu", "host"):
            raise reject("kind", self.kind, '"gpu" or "host"')
        require_non_negative("memory_bytes", self.memory_bytes)
        require_positive("memory_bytes_per_s", self.memory_bytes_per_s)
        if not isinstance(self.peak_flops, Mapping) or not self.peak_flops:
            raise reject("peak_flops", self.peak_flops, "FLOP/s by dtype name, at least one")
        for dtype, flops in self.peak_flops.items():
            require_positive(f"peak_flops.{dtype}", flops)
        require_non_negative("launch_s", self.launch_s)
        require_fraction("memory_efficiency", self.memory_efficiency)
        require_fraction("compute_efficiency", self.compute_efficiency)
        require_flag("emulated", self.emulated)
        if self.attention_efficiency is not None:
            require_fraction("attention_efficiency", self.attention_efficiency)
        require_non_negative("kernel_s", self.kernel_s)
        require_non_negative("matvec_s", self.matvec_s)
        require_price("price_usd", self.price_usd)
        require_powers(self.idle_w, self.active_w)
        object.__setattr__(self, "peak_flops", FrozenMapping(self.peak_flops))

    @property
    def attention_bytes_per_s(self) -> float:
        """Rate at which decode attention reads a KV cache in this memory."""
        efficiency = self.attention_efficiency
        return self.memory_bytes_per_s * (self.memory_efficiency if efficiency is None else efficiency)

    @property
    def batched_matvec_bytes_per_s(self) -> float:
        """Rate at which compiled programs read many matrices that meet one vector each.

        On a GPU attention is such a program. The host has a kernel for it, whose rate says nothing of programs.
        """
        if self.kind == "gpu":
            return self.attention_bytes_per_s
        return self.memory_bytes_per_s * self.memory_efficiency

    def flops(self, dtype: str) -> float:
        """Returns the peak FLOP/s for a dtype name; a dtype without its own peak runs at float32's.

        Raises:
            HardwareError: Neither the dtype nor float32 has a peak.
        """
        if dtype in self.peak_flops:
            return self.peak_flops[dtype]
        if "float32" in self.peak_flops:
            return self.peak_flops["float32"]
        known = ", ".join(self.peak_flops)
        raise HardwareError(f"{self.name} has no peak_flops for {dtype} or float32; it has {known}")


@dataclass(frozen=True, kw_only=True)
class FlashSpec:
    """The flash of a drive: geometry, timings and channel rate.

    A die reads or programs one page in each of its planes at the same time; a channel carries one die's
    data at a time. Pages are the unit of reading and programming, blocks that of erasing.
    """

    channels: int
    dies_per_channel: int
    planes_per_die: int
    blocks_per_plane: int
    pages_per_block: int
    page_bytes: int
    channel_bytes_per_s: float
    t_read_s: float
    t_program_s: float
    t_erase_s: float
    rated_pe_cycles: int

    def __post_init__(self) -> None:
        require_count("channels", self.channels)
        require_count("dies_per_channel", self.dies_per_channel)
        require_count("planes_per_die", self.planes_per_die)
        require_count("blocks_per_plane", self.blocks_per_plane)
        require_count("pages_per_block", self.pages_per_block)
        require_count("page_bytes", self.page_bytes)
        require_positive("channel_bytes_per_s", self.channel_bytes_per_s)
        require_positive("t_read_s", self.t_read_s)
        require_positive("t_program_s", self.t_program_s)
        require_positive("t_erase_s", self.t_erase_s)
        require_count("rated_pe_cycles", self.rated_pe_cycles)

    @property
    def pages_per_channel(self) -> int:
        """Pages behind one channel."""
        return self.dies_per_channel * self.planes_per_die * self.blocks_per_plane * self.pages_per_block

    @property
    def num_pages(self) -> int:
        """Pages in the whole drive."""
        return self.channels * self.pages_per_channel

    @property
    def capacity_bytes(self) -> int:
        """Raw bytes in the whole drive."""
        return self.num_pages * self.page_bytes

    @property
    def array_read_bytes_per_s(self) -> float:
        """What the dies of one channel can sense per second, the channel left aside."""
        return self.dies_per_channel * self.planes_per_die * self.page_bytes / self.t_read_s

    @property
    def array_program_bytes_per_s(self) -> float:
        """What the dies of one channel can program per second, the channel left aside."""
        return self.dies_per_channel * self.planes_per_die * self.page_bytes / self.t_program_s

    @property
    def channel_read_bytes_per_s(self) -> float:
        """Sustained read rate of one channel: the slower of its wires and its dies."""
        return min(self.channel_bytes_per_s, self.array_read_bytes_per_s)

    @property
    def channel_program_bytes_per_s(self) -> float:
        """Sustained program rate of one channel: the slower of its wires and its dies."""
        return min(self.channel_bytes_per_s, self.array_program_bytes_per_s)

    @property
    def internal_bytes_per_s(self) -> float:
        """Sustained read rate of all channels together."""
        return self.channels * self.channel_read_bytes_per_s

    @property
    def program_bytes_per_s(self) -> float:
        """Sustained program rate of all channels together."""
        return self.channels * self.channel_program_bytes_per_s


@dataclass(frozen=True, kw_only=True)
class EngineSpec:
    """The compute engine inside a drive.

    Attributes:
        flops: Peak FLOP/s of its attention kernels.
        bytes_per_s: Rate at which the filters and kernels take in pages.
        setup_s: Time to fill the engine's pipeline, once per attend command.
    """

    flops: float
    bytes_per_s: float
    setup_s: float

    def __post_init__(self) -> None:
        require_positive("flops", self.flops)
        require_positive("bytes_per_s", self.bytes_per_s)
        require_non_negative("setup_s", self.setup_s)


@dataclass(frozen=True, kw_only=True)
class DriveSpec:
    """A drive: flash, optional engine, DRAM and the cost of a command.

    ``engine=None`` is a plain SSD: it stores and returns pages but computes nothing.

    Attributes:
        flash: Where pages are.
        engine: What computes on them, if anything does.
        dram_bytes: Memory for tables and for what waits to fill pages.
        dram_bytes_per_s: Rate of that memory.
        command_s: Overhead of one command.
        price_usd: What it costs to buy, in US dollars.
        idle_w: Watts while it waits.
        active_w: Watts while it reads, writes or attends.
        faults: What goes wrong in it; None for a drive that never fails.
    """

    flash: FlashSpec
    engine: EngineSpec | None
    dram_bytes: float
    dram_bytes_per_s: float
    command_s: float
    price_usd: float | None = None
    idle_w: float | None = None
    active_w: float | None = None
    faults: FaultSpec | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.flash, FlashSpec):
            raise reject("flash", self.flash, "a FlashSpec")
        if self.engine is not None and not isinstance(self.engine, EngineSpec):
            raise reject("engine", self.engine, "an EngineSpec, or none for a plain SSD")
        require_non_negative("dram_bytes", self.dram_bytes)
        require_positive("dram_bytes_per_s", self.dram_bytes_per_s)
        require_non_negative("command_s", self.command_s)
        require_price("price_usd", self.price_usd)
        require_powers(self.idle_w, self.active_w)
        if self.faults is not None and not isinstance(self.faults, FaultSpec):
            raise reject("faults", self.faults, "a FaultSpec, or none for a drive that never fails")


@dataclass(frozen=True, kw_only=True)
class LinkSpec:
    """A full-duplex link: ``bytes_per_s`` holds for each direction on its own."""

    name: str
    bytes_per_s: float
    latency_s: float

    def __post_init__(self) -> None:
        require_name("name", self.name)
        require_positive("bytes_per_s", self.bytes_per_s)
        require_non_negative("latency_s", self.latency_s)
