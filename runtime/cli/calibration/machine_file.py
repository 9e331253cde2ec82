"""A measured machine as a hardware description in TOML, every number with its source."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cost_models import HardwareSpec
from runtime.cli.calibration.drive_tables import drive_tables, emulation_table, link_tables
from runtime.cli.calibration.fit import Roofline
from runtime.cli.calibration.kernel_fit import FITTED
from runtime.cli.calibration.measured_machine import MeasuredMachine
from runtime.cli.calibration.numbers import quoted, sourced
from runtime.cli.calibration.processor import ProcessorFigures

BUILT_AS = "a6000-csd"
"""Preset whose drive tells what cannot be measured of one: how it is built inside."""


def machine_text(found: MeasuredMachine) -> str:
    """Returns the TOML text."""
    taken = (
        f"measured on {found.day.isoformat()} on {found.machine.processor}, {found.machine.num_cores} cores"
    )
    versions = dict(found.machine.versions)
    taken += f", with jax {versions['jax']} on {found.machine.accelerator}, numpy {versions['numpy']}"
    return "\n".join(
        [
            f"# This machine as `instinfer calibrate` measured it. {_emulated(found)}",
            "# Data rates are bytes per second, compute rates FLOP/s, times seconds; 1 GB is 1e9 B.",
            'name = "this-machine"',
            f"description = {quoted(f'{found.gpu_name}, {taken}')}",
            f"p2p = {str(found.described is not None and found.described.p2p).lower()}",
            "",
            "[gpu]",
            "count = 1",
            *_gpu(found, taken),
            "",
            "[host]",
            *_attention(found, taken),
            *_processor(found.host, found.host_line, found.host_memory_bytes, taken, "host"),
            "",
            *(_drive(found, taken) if found.described is None else drive_tables(found.described)),
            "",
            "[link.gpu]",
            sourced(
                "bytes_per_s",
                found.copies.bytes_per_s,
                f"{taken}: {_copies(found)}, the slower way",
            ),
            sourced(
                "latency_s",
                found.copies.latency_s,
                f"{taken}: {_copies(found) if found.copies.samples else 'a copy of 4 bytes'}",
            ),
            *(_disk_link(found, taken) if found.described is None else link_tables(found.described)),
            *_emulation(found, taken),
            "",
        ]
    )


def _attention(found: MeasuredMachine, taken: str) -> list[str]:
    rate, memory = found.host_attention_bytes_per_s, found.host_line.memory_bytes_per_s
    source = f"{taken}: the host's kernel attends at {rate:.3g} B/s to K and V in float16"
    return [sourced("attention_efficiency", min(1.0, rate / memory), source)]


def _emulated(found: MeasuredMachine) -> str:
    if found.described is None:
        return "Nothing in it is emulated."
    return f"Its drives are those of {found.described.name}, which it emulates."


def _emulation(found: MeasuredMachine, taken: str) -> Iterable[str]:
    """Returns what emulating the drives takes, once that was measured."""
    fit = found.emulation
    if found.described is None or fit is None:
        return ()
    drives = f"{len(found.described.drives)} drives of {found.described.name}"
    decodes = f"{len(fit.samples)} decodes with all attentions on {drives}, none throttled"
    source = f"{taken}: {decodes}, residual {fit.residual:.1%}"
    return emulation_table(fit.spec, source)


def _disk_link(found: MeasuredMachine, taken: str) -> list[str]:
    return [
        "",
        "[link.drive]",
        sourced(
            "bytes_per_s",
            found.disk.read_bytes_per_s,
            f"{taken}: sequential reads of a file ({found.disk.backing})",
        ),
        sourced("latency_s", 0.0, "chosen: drive.flash.t_read_s has all of what was measured of a read"),
    ]


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that it is there as a whole or not at all.

    Raises:
        OSError: The folder cannot be written to.
    """
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def _gpu(found: MeasuredMachine, taken: str) -> list[str]:
    """Returns JAX's default device: the host's roofline where that is the host."""
    if found.kernels is None or found.kernel_fit is None:
        return _processor(found.host, found.host_line, found.gpu_memory_bytes, taken, "gpu")
    spec, fit = found.kernel_fit.spec, found.kernel_fit
    steps = sum(s.kind == "layers" for s in found.kernels.samples)
    fitted = f"{taken}: fit to {steps} decode steps of models of few layers, residual {fit.residual:.1%}"
    reached = f"{taken}: the peaks are rates that were reached"
    return [
        f"name = {quoted(spec.name)}",
        sourced("memory_bytes", spec.memory_bytes, f"{taken}: as JAX says"),
        sourced("memory_bytes_per_s", spec.memory_bytes_per_s, f"{taken}: the fastest chain of kernels"),
        sourced("launch_s", spec.launch_s, f"{taken}: one of many executables that do next to nothing"),
        *(sourced(key, getattr(spec, key), fitted) for key in FITTED),
        sourced("compute_efficiency", spec.compute_efficiency, reached),
        "",
        "[gpu.peak_flops]",
        *(
            sourced(dtype, flops, f"{taken}: the fastest chain of matrix products")
            for dtype, flops in spec.peak_flops.items()
        ),
    ]


def _copies(found: MeasuredMachine) -> str:
    if not found.copies.samples:
        return "copies to and from the default device"
    return f"fit to copies between pinned memory and {found.gpu_name}"


def _processor(
    figures: ProcessorFigures, line: Roofline, memory_bytes: float, taken: str, table: str
) -> list[str]:
    fitted = f"{taken}: fit to {len(figures.samples)} matrix products, residual {line.residual:.1%}"
    return [
        f"name = {quoted(figures.name)}",
        sourced("memory_bytes", memory_bytes, f"{taken}: as the system says"),
        sourced("memory_bytes_per_s", line.memory_bytes_per_s, f"{taken}: the highest rate of all figures"),
        sourced(
            "launch_s",
            line.launch_s or figures.dispatch_s,
            fitted if line.launch_s else f"{taken}: an empty program",
        ),
        sourced("memory_efficiency", line.memory_efficiency, fitted),
        sourced("compute_efficiency", line.compute_efficiency, fitted),
        "",
        f"[{table}.peak_flops]",
        *(
            sourced(dtype, flops, f"{taken}: the fastest matrix product")
            for dtype, flops in line.peak_flops.items()
        ),
    ]


def _drive(found: MeasuredMachine, taken: str) -> list[str]:
    """Returns a plain SSD that reads and writes at the measured rates; how it is built inside is chosen."""
    disk, drive = found.disk, HardwareSpec.load(BUILT_AS).drives[0]
    flash = drive.flash
    as_built = f"chosen: as {BUILT_AS}"
    chosen = f"{as_built}; rates and times below make up for it"
    at_once_bytes = flash.channels * flash.dies_per_channel * flash.planes_per_die * flash.page_bytes
    blocks = max(1, round(found.disk_bytes / (at_once_bytes * flash.pages_per_block)))
    program_s = at_once_bytes / disk.write_bytes_per_s
    read_s = min(disk.read_s, at_once_bytes / disk.read_bytes_per_s)
    return [
        "[drive]",
        "count = 1",
        *(sourced(key, getattr(drive, key), as_built) for key in ("dram_bytes", "dram_bytes_per_s")),
        sourced("command_s", found.host.dispatch_s, f"{taken}: as long as handing over an empty program"),
        "",
        "[drive.flash]",
        *(
            sourced(key, getattr(flash, key), chosen)
            for key in ("channels", "dies_per_channel", "planes_per_die", "pages_per_block", "page_bytes")
        ),
        sourced(
            "blocks_per_plane",
            blocks,
            f"{taken}: for a raw capacity of the {found.disk_bytes:.3g} B of the file system",
        ),
        sourced(
            "channel_bytes_per_s",
            disk.read_bytes_per_s / flash.channels,
            f"{taken}: sequential reads ({disk.backing}) / channels",
        ),
        sourced(
            "t_read_s",
            read_s,
            f"{taken}: a read of 4096 bytes ({disk.backing}), or less where that would hide the rate",
        ),
        sourced(
            "t_program_s",
            program_s,
            f"{taken}: from sequential writes ({disk.backing}) at {disk.write_bytes_per_s:.3g} B/s",
        ),
        *(sourced(key, getattr(flash, key), as_built) for key in ("t_erase_s", "rated_pe_cycles")),
    ]
