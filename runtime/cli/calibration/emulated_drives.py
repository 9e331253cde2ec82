"""Measures what it takes this machine to emulate the drives of a description."""

from __future__ import annotations

import dataclasses

import jax

from cost_models import HardwareError, HardwareSpec
from cost_models.hardware_file import parse
from runtime.bench_table import align
from runtime.cli.calibration.drive_effort import DriveEffort
from runtime.cli.calibration.drive_sessions import measure_drives
from runtime.cli.calibration.emulation_fit import EmulationFit, fit_emulation
from runtime.cli.calibration.machine_file import machine_text
from runtime.cli.calibration.measured_machine import MeasuredMachine
from runtime.cli.one_line_errors import ArgumentError
from runtime.jax_device import has_own_memory
from runtime.phases import Progress


def drives_of(name_or_path: str) -> HardwareSpec:
    """Returns the description whose drives are to be emulated.

    Raises:
        ArgumentError: There is no such description, or it has no drives that attend.
    """
    try:
        described = HardwareSpec.load(name_or_path)
    except HardwareError as error:
        raise ArgumentError(f"--drives-of: {error}") from None
    if not described.drives or any(drive.engine is None for drive in described.drives):
        raise ArgumentError(
            f"--drives-of {name_or_path}: it has no drives with an engine, so none attends; name a description with "
            "[drive.engine], such as h200-csd4"
        )
    return described


def with_emulation(
    found: MeasuredMachine, described: HardwareSpec, effort: DriveEffort, progress: Progress
) -> MeasuredMachine:
    """Returns a measured machine with the drives of a description, and what emulating them takes.

    Args:
        found: The machine.
        described: Has the drives, all alike.
        effort: What to measure.
        progress: Told of the decodes done.
    """
    machine = dataclasses.replace(found, described=described)
    hw = parse(machine_text(machine), "this machine")
    sessions = effort.beside_gpu if has_own_memory(jax.devices()[0]) else effort.alone
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress("emulating drives", done, len(sessions))

    return dataclasses.replace(machine, emulation=fit_emulation(measure_drives(hw, sessions, effort, tell)))


def emulation_lines(fit: EmulationFit | None) -> list[str]:
    """Returns what was fitted and a line per decode, then an empty one; nothing where nothing was measured."""
    if fit is None:
        return []
    spec = fit.spec
    rows = [
        (
            sample.label,
            f"{sample.num_bytes / 1e6:.1f}",
            f"{1e3 * sample.attend_s:.3f}",
            f"{1e3 * spec.attend_s(sample.num_bytes):.3f}",
            f"{fit.error(sample):+.0%}",
            f"{1e3 * sample.to_share_s:.3f}",
            f"{1e3 * sample.from_share_s:.3f}",
            f"{1e3 * sample.step_s:.3f}",
        )
        for sample in fit.samples
    ]
    heads = ("decode", "MB", "attention ms", "fitted ms", "error", "to shares ms", "back ms", "next step ms")
    return [
        f"emulated drives: {spec.bytes_per_s / 1e9:.2f} GB/s together, {1e3 * spec.command_s:.2f} ms an attention; "
        f"residual {fit.residual:.1%} (root mean square)",
        *align([heads, *rows]),
        "",
    ]
