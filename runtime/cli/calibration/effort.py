"""How much is measured."""

from dataclasses import dataclass, field

from runtime.cli.calibration.drive_effort import DriveEffort
from runtime.cli.calibration.kernel_effort import KernelEffort


@dataclass(frozen=True)
class Effort:
    """Says what is measured, and for how long.

    Attributes:
        products: Rows, inner and outer size of matrix products: few rows as in a decode, many as in a prefill.
        read_bytes: Bytes of the array whose reading gives the rate of the memory, well above what caches hold.
        attention: Rows, KV heads, tokens and head size of an attention on the host.
        copy_bytes: Bytes of a copy between host and device.
        pinned_bytes: Sizes of copies between pinned memory and a device with memory of its own.
        disk_bytes: Bytes written to a file and read again.
        kernels: What is measured of such a device.
        drives: What is measured of drives that are emulated.
        budget_s: Seconds for each figure.
    """

    products: tuple[tuple[int, int, int], ...] = (
        (1, 768, 3072),
        (8, 768, 3072),
        (1, 2048, 8192),
        (8, 2048, 8192),
        (64, 768, 3072),
        (512, 768, 3072),
        (512, 2048, 2048),
    )
    read_bytes: int = 1 << 28
    attention: tuple[int, int, int, int] = (16, 20, 1024, 128)
    copy_bytes: int = 1 << 26
    pinned_bytes: tuple[int, ...] = (1 << 16, 1 << 20, 1 << 23, 1 << 26, 1 << 28)
    disk_bytes: int = 1 << 27
    kernels: KernelEffort = field(default_factory=KernelEffort)
    drives: DriveEffort = field(default_factory=DriveEffort)
    budget_s: float = 0.2
