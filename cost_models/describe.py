"""The printed form of a hardware description, at most 100 columns wide."""

import textwrap
from collections.abc import Iterable
from itertools import groupby

from cost_models.components import ComputeSpec, DriveSpec, LinkSpec
from cost_models.emulation import EmulationSpec
from cost_models.endurance import SECONDS_PER_YEAR
from cost_models.hardware import HardwareSpec
from cost_models.software import SoftwareSpec

_J_PER_KWH = 3.6e6
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def describe(hw: HardwareSpec) -> str:
    """Returns one line per kind of device and link, equal ones counted, then notes."""
    lines = [f"{hw.name}: {hw.description}" if hw.description else hw.name]
    for index, gpus in _runs(hw.gpus):
        lines.append(f"  {_names('gpu', index, len(gpus)):<12}{_compute(gpus[0])}")
        lines.append(f"  {'':<12}{_peaks(gpus[0])}")
        lines.extend(f"  {'':<12}{text}" for text in _upkeep(gpus[0], each=len(gpus) > 1))
    lines.append(f"  {'host':<12}{_compute(hw.host)}")
    lines.append(f"  {'':<12}{_peaks(hw.host)}")
    lines.extend(f"  {'':<12}{text}" for text in _upkeep(hw.host))
    for index, drives in _runs(hw.drives):
        lines.append(f"  {_names('csd', index, len(drives)):<12}{_drive(drives[0])}")
        lines.append(f"  {'':<12}{_engine(drives[0])}")
        lines.extend(f"  {'':<12}{text}" for text in _upkeep(drives[0], each=len(drives) > 1))
    lines.append(f"  {'links':<12}{_links(hw.links)}")
    if hw.drives:
        way = "peer to peer, or through host memory" if hw.p2p else "through host memory only"
        lines.append(f"  {'gpu to csd':<12}{way}")
    if hw.service_life_s is not None or hw.electricity_usd_per_j is not None:
        lines.append(f"  {'upkeep':<12}{_terms(hw)}")
    if hw.software is not None:
        lines.extend(
            f"  {'software' if not n else '':<12}{text}" for n, text in enumerate(_software(hw.software))
        )
    if hw.emulation is not None:
        lines.extend(
            f"  {'emulated' if not n else '':<12}{text}" for n, text in enumerate(_emulation(hw.emulation))
        )
    for note in hw.notes:
        lines.extend(textwrap.wrap(f"  {'note':<12}{note}", 100, subsequent_indent=" " * 14))
    return "\n".join(lines)


def _software(spec: SoftwareSpec) -> tuple[str, ...]:
    """Describes what a published stack adds."""
    return (
        f"files {si(spec.storage_bytes_per_s, 'B/s')}, host to GPU {si(spec.host_copy_bytes_per_s, 'B/s')}, "
        f"swap {si(spec.swap_bytes_per_s, 'B/s')}",
        f"{spec.host_bytes_per_kv_byte:g} B of host memory per byte of K and V",
        f"{seconds(spec.layer_s)} a layer, engine {si(spec.engine_flops, 'FLOP/s')} not hidden by reads",
        f"flash reads at {spec.flash_read_efficiency:.0%}, {spec.tokens_per_cluster:.2g} wanted tokens together",
    )


def _emulation(spec: EmulationSpec) -> tuple[str, ...]:
    """Describes what the machine that runs plans takes to emulate the drives."""
    return (
        f"drives attend at {si(spec.bytes_per_s, 'B/s')} together, {seconds(spec.command_s)} a command",
        f"{seconds(spec.to_share_s)} to a share, {seconds(spec.from_share_s)} back, {seconds(spec.step_s)} between steps",
    )


def si(value: float, unit: str) -> str:
    """Formats a value with a decimal prefix: ``si(11.2e9, "B/s")`` is ``"11.2 GB/s"``."""
    for scale, prefix in _PREFIXES:
        if abs(value) >= scale:
            return f"{value / scale:.4g} {prefix}{unit}"
    return f"{value:.4g} {unit}"


def seconds(value: float) -> str:
    """Formats a duration: ``seconds(4e-05)`` is ``"40 us"``."""
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if value >= scale:
            return f"{value / scale:.4g} {unit}"
    return f"{value * 1e9:.4g} ns"


def _runs(specs: Iterable[object]) -> list[tuple[int, list]]:
    """Groups equal neighbours, each group with the index of its first."""
    runs: list[tuple[int, list]] = []
    start = 0
    for _, group in groupby(specs):
        members = list(group)
        runs.append((start, members))
        start += len(members)
    return runs


def _names(kind: str, first: int, count: int) -> str:
    """Names a run of devices: ``gpu0`` or ``csd0-3``."""
    return f"{kind}{first}" if count == 1 else f"{kind}{first}-{first + count - 1}"


def _compute(spec: ComputeSpec) -> str:
    """Describes a processor."""
    emulated = " (emulated)" if spec.emulated else ""
    memory = f"{si(spec.memory_bytes, 'B')} at {si(spec.memory_bytes_per_s, 'B/s')}"
    return f"{spec.name}{emulated}, {memory}"


def _peaks(spec: ComputeSpec) -> str:
    """Describes a processor's peaks by dtype."""
    return ", ".join(f"{dtype} {si(flops, 'FLOP/s')}" for dtype, flops in spec.peak_flops.items())


def _drive(spec: DriveSpec) -> str:
    """Describes a drive's flash."""
    flash = spec.flash
    rate = si(flash.channel_bytes_per_s, "B/s")
    return (
        f"{si(flash.capacity_bytes, 'B')} flash, {flash.channels} channels x {rate}, "
        f"reads {si(flash.internal_bytes_per_s, 'B/s')}, programs {si(flash.program_bytes_per_s, 'B/s')}"
    )


def _engine(spec: DriveSpec) -> str:
    """Describes a drive's pages, engine and DRAM."""
    pages = f"{spec.flash.page_bytes} B pages, tR {seconds(spec.flash.t_read_s)}"
    engine = "no engine" if spec.engine is None else f"engine {si(spec.engine.flops, 'FLOP/s')}"
    return f"{pages}, {engine}, {si(spec.dram_bytes, 'B')} DRAM"


def _upkeep(spec: ComputeSpec | DriveSpec, *, each: bool = False) -> list[str]:
    """Describes what a device costs and draws, if that is known."""
    parts = [] if spec.price_usd is None else [f"{spec.price_usd:,.0f} USD"]
    if spec.idle_w is not None and spec.active_w is not None:
        parts.append(f"{spec.idle_w:g} W idle, {spec.active_w:g} W at work")
    return [", ".join(parts) + (" each" if each else "")] if parts else []


def _terms(hw: HardwareSpec) -> str:
    """Describes over which time the system is written off and what its energy costs."""
    parts: list[str] = []
    if hw.service_life_s is not None:
        parts.append(f"written off over {hw.service_life_s / SECONDS_PER_YEAR:.3g} years")
    if hw.electricity_usd_per_j is not None:
        parts.append(f"energy at {hw.electricity_usd_per_j * _J_PER_KWH:.3g} USD per kWh")
    return ", ".join(parts)


def _links(links: tuple[LinkSpec, ...]) -> str:
    """Describes the links, equal ones together."""
    kinds: dict[str, tuple[LinkSpec, int]] = {}
    for link in links:
        key = link.name.rstrip("0123456789")
        kinds[key] = (link, kinds.get(key, (link, 0))[1] + 1)
    return ", ".join(
        f"{key}{'' if count == 1 else f' x{count}'} {si(link.bytes_per_s, 'B/s')}"
        for key, (link, count) in kinds.items()
    )
