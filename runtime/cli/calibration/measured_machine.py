"""Measures this machine: its processors, the copies between them, and a disk."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import jax

from cost_models import HardwareSpec
from runtime.bench_machine import Machine, this_machine
from runtime.cli.calibration.effort import Effort
from runtime.cli.calibration.emulation_fit import EmulationFit
from runtime.cli.calibration.fit import Roofline, fit_roofline
from runtime.cli.calibration.host_attention_rate import measure_host_attention
from runtime.cli.calibration.kernel_figures import KernelFigures, measure_kernels, num_kernel_figures
from runtime.cli.calibration.kernel_fit import KernelFit, fit_kernels
from runtime.cli.calibration.processor import ProcessorFigures, measure_processor, num_figures
from runtime.cli.calibration.transfers import DiskFigures, TransferFigures, measure_copies, measure_disk
from runtime.jax_device import has_own_memory, memory_bytes
from runtime.phases import Progress


@dataclass(frozen=True)
class MeasuredMachine:
    """Holds what was measured, when and where.

    Attributes:
        day: Date of the measurement.
        machine: The machine and versions.
        host: Figures of the host.
        host_line: The roofline fitted to them.
        host_attention_bytes_per_s: Rate at which the host attends to K and V.
        kernels: Figures of JAX's default device where that has memory of its own; None where it is the host.
        kernel_fit: The processor fitted to them.
        gpu_memory_bytes: Memory of the default device.
        host_memory_bytes: Memory of the host.
        copies: Copies between host and default device.
        disk: The disk behind the folder that was given.
        disk_bytes: Its size.
        described: Has the drives that the machine emulates; None for the disk in place of a drive.
        emulation: What emulating them takes; None where there are none, or as long as that is not measured.
    """

    day: date
    machine: Machine
    host: ProcessorFigures
    host_line: Roofline
    host_attention_bytes_per_s: float
    kernels: KernelFigures | None
    kernel_fit: KernelFit | None
    gpu_memory_bytes: float
    host_memory_bytes: float
    copies: TransferFigures
    disk: DiskFigures
    disk_bytes: float
    described: HardwareSpec | None = None
    emulation: EmulationFit | None = None

    @property
    def gpu_name(self) -> str:
        """Returns the name of JAX's default device."""
        return self.host.name if self.kernels is None else self.kernels.name


def measure_machine(folder: Path, effort: Effort, progress: Progress) -> MeasuredMachine:
    """Measures everything.

    Args:
        folder: Where a file is made to measure the disk; it is gone afterwards.
        effort: What to measure, and for how long.
        progress: Told of the figures done.

    Raises:
        DriveError: The folder cannot hold a file.
    """
    device, cpu, machine = jax.devices()[0], jax.devices("cpu")[0], this_machine()
    apart = has_own_memory(device)
    total = 3 + num_figures(effort) + (num_kernel_figures(effort.kernels) if apart else 0)
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        progress("measuring", done, total)

    disk = measure_disk(folder, effort)
    tell()
    copies = measure_copies(device, effort)
    tell()
    kernels = measure_kernels(device, device.device_kind, effort.kernels, tell) if apart else None
    host_memory_bytes = float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    gpu_memory_bytes = memory_bytes(device) or host_memory_bytes
    host = measure_processor(cpu, machine.processor, effort, tell)
    attention_bytes_per_s = measure_host_attention(effort.attention, effort.budget_s)
    tell()
    return MeasuredMachine(
        day=date.today(),
        machine=machine,
        host=host,
        host_line=fit_roofline(host),
        host_attention_bytes_per_s=attention_bytes_per_s,
        kernels=kernels,
        kernel_fit=None if kernels is None else fit_kernels(kernels, gpu_memory_bytes),
        gpu_memory_bytes=gpu_memory_bytes,
        host_memory_bytes=host_memory_bytes,
        copies=copies,
        disk=disk,
        disk_bytes=float(shutil.disk_usage(folder).total),
    )
