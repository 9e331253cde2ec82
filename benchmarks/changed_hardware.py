"""A description of hardware with values changed on the command line of a benchmark."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cost_models import HardwareSpec


def changed_hardware(name_or_path: str, changes: Sequence[str]) -> HardwareSpec:
    """Returns a preset or a file's description after changes, each ``KEY=VALUE`` as `HardwareSpec.replace` takes them.

    Ends the program with a message where one has another form.
    """
    hw = HardwareSpec.load(name_or_path)
    for change in changes:
        key, _, value = change.partition("=")
        try:
            number = float(value)
        except ValueError:
            sys.exit(
                f"--set {change!r} is not KEY=VALUE with a number, such as gpu.memory_bytes_per_s=3.35e12"
            )
        hw = hw.replace(key, number)
    return hw
