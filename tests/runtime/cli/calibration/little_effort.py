"""Measurements so small that they take no time, for tests of what is made of them."""

from runtime.cli.calibration.effort import Effort

LITTLE = Effort(
    products=((1, 64, 256), (64, 256, 256)),
    read_bytes=1 << 20,
    attention=(2, 4, 64, 32),
    copy_bytes=1 << 16,
    disk_bytes=1 << 16,
    budget_s=0.0,
)
