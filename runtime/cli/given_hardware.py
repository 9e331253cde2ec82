"""Finds the hardware that a user named."""

from __future__ import annotations

from cost_models import HardwareSpec


def hardware(name_or_path: str, num_drives: int | None, num_gpus: int | None = None) -> HardwareSpec:
    """Returns a preset or a file's description, with another number of drives or of GPUs if asked.

    Raises:
        HardwareError: If there is no such preset or file, or it has no drive to copy.
    """
    hw = HardwareSpec.load(name_or_path)
    hw = hw if num_drives is None else hw.with_drives(num_drives)
    return hw if num_gpus is None else hw.with_gpus(num_gpus)
