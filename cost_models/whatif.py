"""What-if changes of a hardware description: each takes one and returns another, validated again."""

import dataclasses
import difflib
import math
import re
from collections.abc import Mapping
from typing import Any, TypeVar

from cost_models.checks import is_number, reject, require_count
from cost_models.components import ComputeSpec, DriveSpec, LinkSpec
from cost_models.emulation import EmulationSpec
from cost_models.errors import HardwareError
from cost_models.faults import FaultSpec
from cost_models.hardware import HardwareSpec
from cost_models.software import SoftwareSpec

S = TypeVar("S", ComputeSpec, DriveSpec, LinkSpec, SoftwareSpec, EmulationSpec)

_OPTIONAL_COUNTS = ("stop_after_commands",)
_SYSTEM_NUMBERS = ("service_life_s", "electricity_usd_per_j")
_ACCEPTED_KEYS = (
    "drives, p2p, gpus, service_life_s, electricity_usd_per_j, gpu.FIELD, gpuN.FIELD, host.FIELD, drive.FIELD, "
    "csdN.FIELD, link.gpu.FIELD, link.drive.FIELD, link.switch.FIELD, link.peer.FIELD, link.NAME.FIELD, software.FIELD, "
    "emulation.FIELD"
)


def with_drives(hw: HardwareSpec, num_drives: int) -> HardwareSpec:
    """Returns the system with ``num_drives`` copies of its first drive, each with its link.

    Drives that share a switch keep doing so: drive ``i`` hangs below switch ``i // drives_per_switch``.

    Raises:
        HardwareError: The count is negative, or there is no drive to copy.
    """
    require_count("drives", num_drives, minimum=0)
    if num_drives and not hw.drives:
        raise HardwareError(f"{hw.name} has no drive to copy; start from a description that has one")
    drive_links = {link for name, path in hw.ports.items() if name.startswith("csd") for link in path}
    other_paths = {name: path for name, path in hw.ports.items() if not name.startswith("csd")}
    kept = drive_links & {link for path in other_paths.values() for link in path}
    links = [link for link in hw.links if link.name not in drive_links - kept]
    ports = dict(other_paths)
    for index in range(num_drives):
        own, *shared = hw.ports["csd0"]
        path = [f"csd{index}"]
        links.append(dataclasses.replace(hw.link(own), name=path[0]))
        for link in shared:
            name = link
            if hw.drives_per_switch:
                name = re.sub(r"\d+$", str(index // hw.drives_per_switch), link)
            path.append(name)
            if name not in {known.name for known in links}:
                links.append(dataclasses.replace(hw.link(link), name=name))
        ports[f"csd{index}"] = tuple(path)
    return dataclasses.replace(
        hw,
        drives=hw.drives[:1] * num_drives,
        links=tuple(links),
        ports=_in_device_order(hw, ports, num_drives),
    )


def with_gpus(hw: HardwareSpec, num_gpus: int) -> HardwareSpec:
    """Returns the system with ``num_gpus`` copies of its first GPU, each with a link of its own.

    Raises:
        HardwareError: The count is below one.
    """
    require_count("gpus", num_gpus)
    own, *shared = hw.ports["gpu0"]
    dropped = {hw.ports[name][0] for name in hw.ports if name.startswith("gpu")}
    names = [f"gpu{index}" for index in range(num_gpus)]
    links = [link for link in hw.links if link.name not in dropped]
    links = [*(dataclasses.replace(hw.link(own), name=name) for name in names), *links]
    others = {name: path for name, path in hw.ports.items() if not name.startswith("gpu")}
    ports = {**{name: (name, *shared) for name in names}, **others}
    return dataclasses.replace(hw, gpus=hw.gpus[:1] * num_gpus, links=tuple(links), ports=ports)


def with_faults(hw: HardwareSpec, faults: FaultSpec | None, drive: str | None = None) -> HardwareSpec:
    """Returns the system with these faults in one drive, or in all.

    Raises:
        HardwareError: There is no such drive.
    """
    if drive is not None:
        hw.drive(drive)
    chosen = tuple(
        dataclasses.replace(spec, faults=faults) if drive in (None, f"csd{index}") else spec
        for index, spec in enumerate(hw.drives)
    )
    return dataclasses.replace(hw, drives=chosen)


def with_memory(hw: HardwareSpec, device: str, num_bytes: float) -> HardwareSpec:
    """Returns the system with another memory capacity on one GPU or the host."""
    hw.compute(device)
    return replace_value(hw, f"{device}.memory_bytes", num_bytes)


def replace_value(hw: HardwareSpec, dotted_key: str, value: float) -> HardwareSpec:
    """Returns the system with the value at one dotted key changed, and the change noted as its source.

    Raises:
        HardwareError: The key names nothing, or the value is not accepted there.
    """
    if dotted_key == "drives":
        return with_drives(hw, _whole(value))
    if dotted_key == "gpus":
        return with_gpus(hw, _whole(value))
    if dotted_key == "p2p":
        return dataclasses.replace(hw, p2p=value)
    if dotted_key in _SYSTEM_NUMBERS:
        changed = dataclasses.replace(hw, **{dotted_key: value})
        return dataclasses.replace(changed, sources=_sources_after(hw.sources, dotted_key, value))
    head, *rest = dotted_key.split(".")
    if head == "link" and len(rest) == 2:
        changed = _replace_links(hw, dotted_key, rest[0], rest[1], value)
    elif head == "software" and hw.software is not None and len(rest) == 1:
        changed = dataclasses.replace(hw, software=_set(hw.software, dotted_key, rest, value))
    elif head == "emulation" and hw.emulation is not None and len(rest) == 1:
        changed = dataclasses.replace(hw, emulation=_set(hw.emulation, dotted_key, rest, value))
    elif re.fullmatch(r"gpu\d*|host|drive|csd\d*", head) and rest:
        changed = _replace_devices(hw, dotted_key, head, rest, value)
    else:
        raise HardwareError(f"{hw.name} has no value at {dotted_key!r}; accepted are {_ACCEPTED_KEYS}")
    return dataclasses.replace(changed, sources=_sources_after(hw.sources, dotted_key, value))


def source_of(hw: HardwareSpec, key: str) -> str:
    """Returns the source of a value; a single device's key falls back on its kind's.

    Raises:
        HardwareError: No source is known under this key.
    """
    for candidate in (key, _kind_key(key)):
        if candidate in hw.sources:
            return hw.sources[candidate]
    close = difflib.get_close_matches(_kind_key(key), hw.sources, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise HardwareError(f"{hw.name} has no source for {key!r}{hint}")


def _kind_key(key: str) -> str:
    """Turns ``gpu0.x`` into ``gpu.x``, ``csd1.x`` into ``drive.x``, ``link.csd1.x`` into ``link.drive.x``."""
    key = re.sub(r"^(link\.)?(gpu|switch)\d+\.", r"\1\2.", key)
    return re.sub(r"^(link\.)?csd\d*\.", r"\1drive.", key)


def _in_device_order(
    hw: HardwareSpec, ports: Mapping[str, tuple[str, ...]], num_drives: int
) -> dict[str, tuple[str, ...]]:
    """Orders ports as devices are: GPUs, host, drives."""
    names = [f"gpu{index}" for index in range(len(hw.gpus))] + ["host"]
    names += [f"csd{index}" for index in range(num_drives)]
    return {name: ports[name] for name in names}


def _replace_links(hw: HardwareSpec, key: str, target: str, field: str, value: float) -> HardwareSpec:
    """Replaces one field of a link, or of all links of a kind."""
    pattern = {"drive": r"csd\d+", "gpu": r"gpu\d+", "switch": r"switch\d+"}.get(target, re.escape(target))
    hits = [link.name for link in hw.links if re.fullmatch(pattern, link.name)]
    if not hits or field == "name":
        raise HardwareError(f"{hw.name} has no value at {key!r}; accepted are {_ACCEPTED_KEYS}")
    links = tuple(_set(link, key, [field], value) if link.name in hits else link for link in hw.links)
    return dataclasses.replace(hw, links=links)


def _replace_devices(hw: HardwareSpec, key: str, head: str, rest: list[str], value: float) -> HardwareSpec:
    """Replaces one field of a device, or of all devices of a kind."""
    if head == "host":
        return dataclasses.replace(hw, host=_set(hw.host, key, rest, value))
    if head[-1].isdigit():
        hw.device(head)
    gpus = tuple(
        _set(gpu, key, rest, value) if head in ("gpu", f"gpu{index}") else gpu
        for index, gpu in enumerate(hw.gpus)
    )
    drives = tuple(
        _set(drive, key, rest, value) if head in ("drive", "csd", f"csd{index}") else drive
        for index, drive in enumerate(hw.drives)
    )
    if not (gpus if head.startswith("gpu") else drives):
        raise HardwareError(f"{hw.name} has no {head} to change at {key!r}")
    return dataclasses.replace(hw, gpus=gpus, drives=drives)


def _set(spec: S, key: str, path: list[str], value: float) -> S:
    """Sets the value at a path of field names (or dtype names) inside a specification."""
    return _set_any(spec, key, path, value)


def _set_any(spec: Any, key: str, path: list[str], value: float) -> Any:
    """Sets a value in a specification or in its table of peaks, one name of the path at a time."""
    first, *rest = path
    if isinstance(spec, Mapping):
        names: list[str] = list(spec)
    elif dataclasses.is_dataclass(spec) and not isinstance(spec, type):
        names = [field.name for field in dataclasses.fields(spec)]
    else:
        names = []
    if first not in names and not (isinstance(spec, Mapping) and not rest):
        close = difflib.get_close_matches(first, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else f"; accepted are {', '.join(names) or 'none'}"
        raise HardwareError(f"no value at {key!r}: {first!r} is unknown{hint}")
    current = spec.get(first) if isinstance(spec, Mapping) else getattr(spec, first)
    if rest:
        new = _set_any(FaultSpec() if current is None and first == "faults" else current, key, rest, value)
    elif dataclasses.is_dataclass(current) or isinstance(current, Mapping):
        raise HardwareError(f"{key!r} names a group of values; name one of them")
    else:
        new = _like(0 if first in _OPTIONAL_COUNTS else current, value, key)
    if isinstance(spec, Mapping):
        return {**spec, first: new}
    changes: dict[str, Any] = {first: new}
    try:
        return dataclasses.replace(spec, **changes)  # pyright: ignore[reportArgumentType]
    except HardwareError as error:
        raise HardwareError(f"{key}: {error}") from None


def _like(current: object, value: float, key: str) -> Any:
    """Converts a new value to the kind of number that stood there."""
    if isinstance(current, bool | str):
        return value
    if not is_number(value):
        raise reject(key, value, "a number")
    return _whole(value) if isinstance(current, int) else float(value)


def _whole(value: float) -> Any:
    """Turns 16.0 into 16 and leaves what is not whole for the constructor to reject."""
    return int(value) if is_number(value) and math.isfinite(value) and value == int(value) else value


def _sources_after(sources: Mapping[str, str], key: str, value: float) -> dict[str, str]:
    """Notes a what-if value as its own source; a change of a whole kind overrides single devices' notes."""
    key = re.sub(r"^csd\.", "drive.", key)
    kept = {name: text for name, text in sources.items() if name == key or _kind_key(name) != key}
    return {**kept, key: f"what-if value {value!r}"}
