"""Makes steps take as long as on a described system, by sleeping."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cost_models import HardwareSpec


@contextmanager
def at_least(seconds: float) -> Iterator[None]:
    """Lets what is done inside take so many seconds or more."""
    until_s = time.perf_counter() + seconds
    yield
    time.sleep(max(0.0, until_s - time.perf_counter()))


@dataclass(frozen=True)
class Rates:
    """Holds what a system with one GPU and one drive can do.

    Attributes:
        gpu_link_bytes_per_s: Between host memory and GPU, each way.
        drive_link_bytes_per_s: Between drive and host memory, each way; no faster than its flash is read.
        gpu_bytes_per_s: At which the GPU reads its memory.
        gpu_flops: FLOP/s of the GPU in float32.
        launch_s: Seconds that a computation on the GPU takes at least.
    """

    gpu_link_bytes_per_s: float
    drive_link_bytes_per_s: float
    gpu_bytes_per_s: float
    gpu_flops: float
    launch_s: float

    @staticmethod
    def of(hw: HardwareSpec) -> Rates:
        """Returns the rates of a description's first GPU and its drives together."""
        gpu, flash_bytes_per_s = hw.gpus[0], hw.drives[0].flash.internal_bytes_per_s
        return Rates(
            gpu_link_bytes_per_s=hw.link("gpu0").bytes_per_s,
            drive_link_bytes_per_s=len(hw.drives) * min(hw.link("csd0").bytes_per_s, flash_bytes_per_s),
            gpu_bytes_per_s=gpu.memory_bytes_per_s * gpu.memory_efficiency,
            gpu_flops=gpu.flops("float32") * gpu.compute_efficiency,
            launch_s=gpu.launch_s,
        )

    def compute_s(self, flops: float, num_bytes: float) -> float:
        """Returns the seconds of a computation on the GPU."""
        return self.launch_s + max(flops / self.gpu_flops, num_bytes / self.gpu_bytes_per_s)
