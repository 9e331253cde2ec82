"""The energy that a system takes: every device draws its idle power all the time, and the rest while it works.

``energy = idle_w * seconds + sum over devices of (active_w - idle_w) * busy_s``. Links, fans and power supplies are left aside,
except where a preset counts them in with the host.
"""

from collections.abc import Mapping

from cost_models.checks import require_non_negative
from cost_models.components import ComputeSpec, DriveSpec
from cost_models.errors import HardwareError
from cost_models.hardware import HardwareSpec


def missing_power(hw: HardwareSpec) -> str | None:
    """Returns the dotted key of a power that the description lacks, or None if it has all that energy needs."""
    lacking = (f"{name}.idle_w" for name in hw.device_names if hw.device(name).idle_w is None)
    return next(lacking, None)


def idle_power_w(hw: HardwareSpec) -> float:
    """Returns the watts that the whole system draws while nothing works.

    Raises:
        HardwareError: The description lacks a power.
    """
    return sum(_powers(hw, name)[0] for name in hw.device_names)


def working_power_w(hw: HardwareSpec, device: str) -> float:
    """Returns the watts that a device draws on top of its idle power while it works.

    Raises:
        HardwareError: The description lacks a power, or there is no such device.
    """
    idle, active = _powers(hw, device)
    return active - idle


def energy_j(hw: HardwareSpec, seconds: float, busy_s: Mapping[str, float]) -> float:
    """Returns the joules that the system takes in a time.

    Args:
        hw: The system.
        seconds: How long it takes.
        busy_s: Seconds in which each device works, by name; devices left out only wait.

    Raises:
        HardwareError: The description lacks a power, there is no such device, or a time is negative.
    """
    require_non_negative("seconds", seconds)
    total = idle_power_w(hw) * seconds
    for device, busy in busy_s.items():
        require_non_negative(f"busy_s of {device}", busy)
        total += working_power_w(hw, device) * busy
    return total


def _powers(hw: HardwareSpec, device: str) -> tuple[float, float]:
    spec: ComputeSpec | DriveSpec = hw.device(device)
    if spec.idle_w is None or spec.active_w is None:
        table = device.rstrip("0123456789").replace("csd", "drive")
        raise HardwareError(
            f"{hw.name} has no {table}.idle_w and {table}.active_w, which energy needs; add them to [{table}] of its "
            'description, each as { value = WATTS, source = "TEXT" }'
        )
    return spec.idle_w, spec.active_w
