"""Measures copies between host and device, and a file on disk."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import jax
import numpy as np

from runtime.cli.calibration.effort import Effort
from runtime.cli.calibration.pinned_copies import CopySample, fit_copies, measure_pinned_copies
from runtime.cli.calibration.stopwatch import seconds_of
from runtime.csd.page_file import PageFile
from runtime.csd.staging_area import BLOCK_BYTES, StagingArea
from runtime.jax_device import JaxDevice, has_own_memory


@dataclass(frozen=True)
class TransferFigures:
    """Holds a rate and a latency.

    Attributes:
        bytes_per_s: Of a large transfer, the slower direction.
        latency_s: Seconds of a small one.
        samples: Copies from and to pinned memory that the two were fitted to; none where the device has no memory of its own.
    """

    bytes_per_s: float
    latency_s: float
    samples: tuple[CopySample, ...] = ()


@dataclass(frozen=True)
class DiskFigures:
    """Holds what was measured of the disk behind a folder.

    Attributes:
        backing: Whether the page cache was passed by, or dropped.
        read_bytes_per_s: Sequential.
        write_bytes_per_s: Likewise.
        read_s: Seconds of reading one block of 4096 bytes.
    """

    backing: str
    read_bytes_per_s: float
    write_bytes_per_s: float
    read_s: float


def measure_copies(device: JaxDevice, effort: Effort) -> TransferFigures:
    """Times copies from host memory to a device, and back; from pinned memory where the device has memory of its own."""
    if has_own_memory(device):
        samples = measure_pinned_copies(device, effort.pinned_bytes, effort.budget_s)
        return TransferFigures(*fit_copies(samples), samples)
    host = np.ones(effort.copy_bytes // 4, np.float32)
    small = np.ones(1, np.float32)

    def there(array: np.ndarray) -> jax.Array:
        """Copies; a processor would otherwise take the array over as it lies there."""
        return jax.block_until_ready(jax.device_put(array.copy(), device))

    on_device = [there(host) for _ in range(8)]
    fresh = iter(on_device)  # a second read of an array finds the first one's copy
    down_s = seconds_of(lambda: np.array(next(fresh)), 0.0, least=6)
    up_s = seconds_of(lambda: there(host), effort.budget_s)
    latency_s = seconds_of(lambda: there(small), effort.budget_s)
    slower_s = max(up_s, down_s)
    return TransferFigures(host.nbytes / max(slower_s - latency_s, slower_s / 2), latency_s)


def measure_disk(folder: Path, effort: Effort) -> DiskFigures:
    """Times a file in a folder, read and written past the page cache where that is possible.

    Raises:
        DriveError: The folder cannot hold such a file.
    """
    file = PageFile(folder, "calibrate")
    try:
        file.grow(effort.disk_bytes)
        buffer = StagingArea().frames(1, effort.disk_bytes)[0]
        buffer[:] = np.random.default_rng(0).integers(0, 256, effort.disk_bytes, np.uint8)
        write_s = seconds_of(lambda: file.write(buffer, 0), effort.budget_s)
        read_s = seconds_of(lambda: file.read(buffer, 0), effort.budget_s)
        offsets = np.random.default_rng(0).integers(0, effort.disk_bytes // BLOCK_BYTES, 1 << 16)
        turns = cycle(offsets.tolist())
        block = StagingArea().frames(1, BLOCK_BYTES)[0]
        block_s = seconds_of(lambda: file.read(block, next(turns) * BLOCK_BYTES), effort.budget_s)
    finally:
        file.close()
    return DiskFigures(file.backing, effort.disk_bytes / read_s, effort.disk_bytes / write_s, block_s)
