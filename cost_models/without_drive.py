"""A system after one of its drives has been given up."""

import dataclasses

from cost_models.hardware import HardwareSpec


def without_drive(hw: HardwareSpec, drive: str) -> HardwareSpec:
    """Returns the system without one of its drives; those behind it move up by one name and keep the names of their links.

    Raises:
        HardwareError: There is no such drive.
    """
    hw.drive(drive)
    left = [name for name in hw.device_names if name != drive]
    kept = {link for name in left for link in hw.ports[name]}
    paths = [hw.ports[name] for name in left if name.startswith("csd")]
    ports = {name: hw.ports[name] for name in left if not name.startswith("csd")}
    ports |= {f"csd{index}": path for index, path in enumerate(paths)}
    number = int(drive.removeprefix("csd"))
    return dataclasses.replace(
        hw,
        drives=tuple(spec for index, spec in enumerate(hw.drives) if index != number),
        links=tuple(link for link in hw.links if link.name in kept),
        ports=ports,
        remarks=(*hw.remarks, f"without {drive}"),
    )
