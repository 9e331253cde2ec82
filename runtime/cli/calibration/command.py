"""Measures this machine for ``instinfer calibrate``, writes the description and prints what it predicts."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import typer

from cost_models import HardwareSpec
from cost_models.hardware_file import parse
from models import load_pretrained
from runtime.bench_table import align
from runtime.cli.calibration.effort import Effort
from runtime.cli.calibration.emulated_drives import drives_of, emulation_lines, with_emulation
from runtime.cli.calibration.fit import Roofline, errors_of
from runtime.cli.calibration.held_runs import HeldRun, held_table, hold_runs, random_model
from runtime.cli.calibration.kernel_report import kernel_lines
from runtime.cli.calibration.machine_file import machine_text, write_whole
from runtime.cli.calibration.measured_machine import MeasuredMachine, measure_machine
from runtime.cli.calibration.processor import ProcessorFigures
from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.progress import GenerationProgress
from runtime.cli.written_file import check_output, write_to


def calibrate_machine(out: Path | None, as_json: bool, drives: str | None = None) -> None:
    """Measures, writes and prints.

    Args:
        out: TOML file to write; None: none. The disk behind its folder is measured, or that of temporary files.
        as_json: Whether to print JSON.
        drives: Name or file of the description whose drives this machine is to emulate; None: the disk stands for a drive.

    Raises:
        ArgumentError: The file cannot be written, or there are no such drives; nothing was measured, and the file is as it was.
    """
    described = None if drives is None else drives_of(drives)
    check_output(out, (".toml",))
    if out is not None and (out.is_dir() or not os.access(out.parent, os.W_OK)):
        raise ArgumentError(f"cannot write {str(out)!r}: it is a folder, or its folder cannot be written to")
    folder = Path(tempfile.gettempdir()) if out is None else out.parent
    with GenerationProgress() as progress:
        effort = Effort()
        found = measure_machine(folder, effort, progress)
        if described is not None:
            found = with_emulation(found, described, effort.drives, progress)
        text = machine_text(found)
        hw = parse(text, "this machine")
        if out is not None:
            write_to(out, partial(write_whole, text=text))
        runs = hold_runs(hw, (load_pretrained("tiny"), random_model()), progress)
    typer.echo(json.dumps(_data(hw, found, runs), indent=2) if as_json else calibration_report(found, runs))


def calibration_report(found: MeasuredMachine, runs: Sequence[HeldRun]) -> str:
    """Returns what was measured, how well the fit meets it, and the runs that nothing slowed down."""
    disk, copies = found.disk, found.copies
    pinned = [
        f"pinned, {sample.num_bytes / 1e6:.2f} MB: to the device {1e6 * sample.to_device_s:.0f} us, back "
        f"{1e6 * sample.from_device_s:.0f} us, both at once {1e6 * sample.at_once_s:.0f} us"
        for sample in copies.samples
    ]
    lines = [
        str(found.machine),
        "",
        *kernel_lines(found.kernels, found.kernel_fit),
        *_processor_lines(found.host, found.host_line),
        f"attention on the host: {found.host_attention_bytes_per_s / 1e9:.2f} GB/s of K and V in float16",
        "",
        f"host to device and back: {copies.bytes_per_s / 1e9:.2f} GB/s, {1e6 * copies.latency_s:.0f} us",
        *pinned,
        f"disk ({disk.backing}): reads {disk.read_bytes_per_s / 1e9:.2f} GB/s, writes {disk.write_bytes_per_s / 1e9:.2f} GB/s, "
        f"4096 bytes in {1e6 * disk.read_s:.0f} us",
        "",
        *emulation_lines(found.emulation),
        "With nothing slowed down, policy gpu-only:",
        *held_table(runs),
    ]
    return "\n".join(lines)


def _processor_lines(figures: ProcessorFigures, line: Roofline) -> list[str]:
    rows = [
        (
            f"{sample.dtype} {' x '.join(map(str, sample.shape))}",
            f"{1e3 * sample.seconds:.3f}",
            f"{1e3 * line.seconds(sample):.3f}",
            f"{error:+.0%}",
        )
        for sample, error in zip(figures.samples, errors_of(line, figures.samples), strict=True)
    ]
    peaks = ", ".join(f"{dtype} {flops / 1e9:.0f} GFLOP/s" for dtype, flops in line.peak_flops.items())
    return [
        f"{figures.name}: {peaks}, memory {line.memory_bytes_per_s / 1e9:.1f} GB/s, an empty program "
        f"{1e6 * figures.dispatch_s:.0f} us",
        f"fit: compute_efficiency {line.compute_efficiency:.3f}, memory_efficiency {line.memory_efficiency:.3f}, "
        f"launch {1e6 * line.launch_s:.0f} us; residual {line.residual:.1%} (root mean square)",
        *align([("product", "measured ms", "fitted ms", "error"), *rows]),
    ]


def _data(hw: HardwareSpec, found: MeasuredMachine, runs: Sequence[HeldRun]) -> dict[str, object]:
    return {
        "hardware": hw.to_dict(),
        "machine": found.machine.to_dict(),
        "day": found.day.isoformat(),
        "gpu": None if found.kernels is None else asdict(found.kernels),
        "gpu_residual": None if found.kernel_fit is None else found.kernel_fit.residual,
        "host": asdict(found.host),
        "host_fit": asdict(found.host_line),
        "host_attention_bytes_per_s": found.host_attention_bytes_per_s,
        "copies": asdict(found.copies),
        "disk": asdict(found.disk),
        "emulation": None if found.emulation is None else asdict(found.emulation),
        "runs": [asdict(run) | {"error": run.error} for run in runs],
    }
