"""What a system costs to own and to power: its price written off over its service life, and its energy.

``dollars = price_usd / service_life_s * seconds + electricity_usd_per_j * energy``. Cooling, space and people are left aside.
"""

from collections.abc import Mapping

from cost_models.energy import energy_j, missing_power
from cost_models.errors import HardwareError
from cost_models.hardware import HardwareSpec


def missing_price(hw: HardwareSpec) -> str | None:
    """Returns the dotted key of a figure that the description lacks, or None if it has all that dollars need."""
    for name in hw.device_names:
        if hw.device(name).price_usd is None:
            return f"{name}.price_usd"
    if hw.service_life_s is None:
        return "service_life_s"
    return "electricity_usd_per_j" if hw.electricity_usd_per_j is None else missing_power(hw)


def system_price_usd(hw: HardwareSpec) -> float:
    """Returns the price of all devices together.

    Raises:
        HardwareError: A device has no price.
    """
    total = 0.0
    for name in hw.device_names:
        price = hw.device(name).price_usd
        if price is None:
            table = name.rstrip("0123456789").replace("csd", "drive")
            raise _lacking(hw, f"{table}.price_usd", f"add it to [{table}] of its description", "USD")
        total += price
    return total


def owning_usd_per_s(hw: HardwareSpec) -> float:
    """Returns the dollars per second of owning the system, whatever it does: its price over its service life.

    Raises:
        HardwareError: A price or the service life is missing.
    """
    price = system_price_usd(hw)
    if hw.service_life_s is None:
        raise _lacking(hw, "service_life_s", "add it to the top of its description", "SECONDS")
    return price / hw.service_life_s


def energy_usd(hw: HardwareSpec, joules: float) -> float:
    """Returns the price of energy.

    Raises:
        HardwareError: The price of electricity is missing.
    """
    if hw.electricity_usd_per_j is None:
        raise _lacking(
            hw, "electricity_usd_per_j", "add it to the top of its description", "USD_PER_KWH / 3.6e6"
        )
    return joules * hw.electricity_usd_per_j


def running_usd(hw: HardwareSpec, seconds: float, busy_s: Mapping[str, float]) -> float:
    """Returns the dollars of owning and powering the system for a time.

    Args:
        hw: The system.
        seconds: How long.
        busy_s: Seconds in which each device works, by name; devices left out only wait.

    Raises:
        HardwareError: A price, a power or the service life is missing.
    """
    return owning_usd_per_s(hw) * seconds + energy_usd(hw, energy_j(hw, seconds, busy_s))


def _lacking(hw: HardwareSpec, key: str, where: str, unit: str) -> HardwareError:
    return HardwareError(
        f'{hw.name} has no {key}, which dollars need; {where}, as {{ value = {unit}, source = "TEXT" }}'
    )
