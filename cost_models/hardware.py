"""The hardware description: which devices a system has, what they can do and how they are wired.

Devices are named ``gpu0``, ``gpu1``, ..., ``host``, ``csd0``, ``csd1``, ... Links form a tree whose root
is host memory; ``ports`` gives, for each device, the links from the device up to the root.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from cost_models.checks import (
    reject,
    require_count,
    require_flag,
    require_name,
    require_positive,
    require_price,
)
from cost_models.components import ComputeSpec, DriveSpec, EngineSpec, FlashSpec, LinkSpec
from cost_models.emulation import EmulationSpec
from cost_models.errors import HardwareError
from cost_models.faults import FaultSpec
from cost_models.frozen_mapping import FrozenMapping
from cost_models.software import SoftwareSpec

__all__ = [
    "ComputeSpec",
    "DriveSpec",
    "EmulationSpec",
    "EngineSpec",
    "FaultSpec",
    "FlashSpec",
    "HardwareError",
    "HardwareSpec",
    "LinkSpec",
    "SoftwareSpec",
]


@dataclass(frozen=True, kw_only=True)
class HardwareSpec:
    """A whole system, frozen and validated.

    Attributes:
        name: Name of the preset or description.
        gpus: ``gpu0``, ``gpu1``, ... in order.
        host: The host's processor and memory.
        drives: ``csd0``, ``csd1``, ... in order.
        links: Every link of the tree, names unique.
        ports: Device name to the names of its links, from the device up to host memory.
        p2p: True where a GPU and a drive exchange data without a stop in host memory.
        sources: Dotted key, such as ``gpu.memory_bytes``, to the source of its value.
        drives_per_switch: Drives that share one uplink; zero where every drive has its own way to the root.
        remarks: What was done to the description after loading, such as a slow-down.
        description: One line for people: what system this is.
        service_life_s: Seconds over which the price of the devices is written off.
        electricity_usd_per_j: Price of energy, in US dollars per joule.
        software: What a published software stack adds; None for hardware alone.
        emulation: What the machine that runs plans takes to emulate the drives; None where they are taken to be real.
    """

    name: str
    gpus: tuple[ComputeSpec, ...]
    host: ComputeSpec
    drives: tuple[DriveSpec, ...]
    links: tuple[LinkSpec, ...]
    ports: Mapping[str, tuple[str, ...]]
    p2p: bool
    sources: Mapping[str, str] = field(default_factory=dict)
    drives_per_switch: int = 0
    remarks: tuple[str, ...] = ()
    description: str = ""
    service_life_s: float | None = None
    electricity_usd_per_j: float | None = None
    software: SoftwareSpec | None = None
    emulation: EmulationSpec | None = None

    def __post_init__(self) -> None:
        require_name("name", self.name)
        require_flag("p2p", self.p2p)
        require_count("drives_per_switch", self.drives_per_switch, minimum=0)
        if self.service_life_s is not None:
            require_positive("service_life_s", self.service_life_s)
        require_price("electricity_usd_per_j", self.electricity_usd_per_j)
        if self.software is not None and not isinstance(self.software, SoftwareSpec):
            raise reject("software", self.software, "a SoftwareSpec, or none for hardware alone")
        if self.emulation is not None and not isinstance(self.emulation, EmulationSpec):
            raise reject("emulation", self.emulation, "an EmulationSpec, or none for real drives")
        for field_name in ("gpus", "drives", "links", "remarks"):
            object.__setattr__(self, field_name, tuple(getattr(self, field_name)))
        ports = {device: tuple(path) for device, path in self.ports.items()}
        object.__setattr__(self, "ports", FrozenMapping(ports))
        object.__setattr__(self, "sources", FrozenMapping(self.sources))
        for index, gpu in enumerate(self.gpus):
            if gpu.kind != "gpu":
                raise reject(f"gpu{index}.kind", gpu.kind, '"gpu"')
        if self.host.kind != "host":
            raise reject("host.kind", self.host.kind, '"host"')
        self._check_wiring()

    def _check_wiring(self) -> None:
        """Requires unique link names and exactly one known path for every device."""
        names = [link.name for link in self.links]
        if len(set(names)) != len(names):
            raise reject("links", names, "link names that are unique")
        if set(self.ports) != set(self.device_names):
            expected = f"one entry for each of {', '.join(self.device_names)}"
            raise reject("ports", sorted(self.ports), expected)
        if self.ports["host"]:
            raise reject("ports.host", self.ports["host"], "no links: host memory is the root")
        for device, path in self.ports.items():
            if device != "host" and not path:
                raise reject(f"ports.{device}", path, "at least one link")
            for link in path:
                if link not in names:
                    raise reject(f"ports.{device}", link, f"one of the links {', '.join(names)}")

    @cached_property
    def device_names(self) -> tuple[str, ...]:
        """Names of all devices: GPUs, host, drives."""
        gpus = tuple(f"gpu{index}" for index in range(len(self.gpus)))
        drives = tuple(f"csd{index}" for index in range(len(self.drives)))
        return (*gpus, "host", *drives)

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks on how the description came about, warnings from its self-check, and the faults of its drives."""
        from cost_models.fault_notes import fault_notes
        from cost_models.self_check import geometry_warnings

        return (*self.remarks, *geometry_warnings(self), *fault_notes(self))

    def compute(self, device: str) -> ComputeSpec:
        """Returns the processor behind ``gpuN`` or ``host``.

        Raises:
            HardwareError: There is no such processor.
        """
        spec = self.device(device)
        if not isinstance(spec, ComputeSpec):
            raise HardwareError(f"{self.name}: {device} is a drive; expected a gpu or the host")
        return spec

    def drive(self, device: str) -> DriveSpec:
        """Returns the drive behind ``csdN``.

        Raises:
            HardwareError: There is no such drive.
        """
        spec = self.device(device)
        if not isinstance(spec, DriveSpec):
            raise HardwareError(f"{self.name}: {device} is no drive; expected csd0, csd1, ...")
        return spec

    def device(self, device: str) -> ComputeSpec | DriveSpec:
        """Returns the specification behind a device name.

        Raises:
            HardwareError: There is no such device.
        """
        found = self._devices.get(device)
        if found is not None:
            return found
        raise HardwareError(f"{self.name} has no device {device!r}; it has {', '.join(self.device_names)}")

    @cached_property
    def _devices(self) -> dict[str, ComputeSpec | DriveSpec]:
        """Maps names of devices to their specifications."""
        return dict(zip(self.device_names, (*self.gpus, self.host, *self.drives), strict=True))

    def link(self, name: str) -> LinkSpec:
        """Returns a link by name.

        Raises:
            HardwareError: There is no such link.
        """
        for link in self.links:
            if link.name == name:
                return link
        known = ", ".join(link.name for link in self.links)
        raise HardwareError(f"{self.name} has no link {name!r}; it has {known}")

    def memory_bytes(self, device: str) -> float:
        """Returns the capacity of a device: its memory, or the raw flash of a drive."""
        spec = self.device(device)
        return spec.memory_bytes if isinstance(spec, ComputeSpec) else float(spec.flash.capacity_bytes)

    def source_of(self, key: str) -> str:
        """Returns where a value comes from, by dotted key (``gpu.memory_bytes``; ``gpu0.memory_bytes`` too).

        Raises:
            HardwareError: No source is known under this key.
        """
        from cost_models.whatif import source_of

        return source_of(self, key)

    def with_drives(self, num_drives: int) -> "HardwareSpec":
        """Returns the system with this many drives, copies of the first with its link and switch."""
        from cost_models.whatif import with_drives

        return with_drives(self, num_drives)

    def with_gpus(self, num_gpus: int) -> "HardwareSpec":
        """Returns the system with this many GPUs, copies of the first with its link to the host."""
        from cost_models.whatif import with_gpus

        return with_gpus(self, num_gpus)

    def without_drive(self, drive: str) -> "HardwareSpec":
        """Returns the system without one drive, such as ``csd1``; those behind it move up by one name."""
        from cost_models.without_drive import without_drive

        return without_drive(self, drive)

    def with_faults(self, faults: FaultSpec | None, drive: str | None = None) -> "HardwareSpec":
        """Returns the system with these faults in one drive, such as ``csd1``, or in all; None for none."""
        from cost_models.whatif import with_faults

        return with_faults(self, faults, drive)

    def slowed(self, factor: float) -> "HardwareSpec":
        """Returns the system with every rate divided and every latency multiplied by ``factor``."""
        from cost_models.slowed import slowed

        return slowed(self, factor)

    def with_memory(self, device: str, num_bytes: float) -> "HardwareSpec":
        """Returns the system with another memory capacity on one GPU or the host."""
        from cost_models.whatif import with_memory

        return with_memory(self, device, num_bytes)

    def replace(self, dotted_key: str, value: float) -> "HardwareSpec":
        """Returns the system with one value changed, such as ``"drive.flash.channels"``.

        ``gpu`` and ``drive`` stand for all GPUs and drives, ``gpu0`` or ``csd1`` for a single one, and
        ``link.drive``, ``link.gpu``, ``link.switch`` or ``link.csd0`` for links.
        """
        from cost_models.whatif import replace_value

        return replace_value(self, dotted_key, value)

    def describe(self) -> str:
        """Returns a short text for people: devices, links and notes."""
        from cost_models.describe import describe

        return describe(self)

    def to_dict(self) -> dict[str, Any]:
        """Returns the description as JSON-able data, the inverse of `from_dict`."""
        from cost_models.hardware_dict import to_dict

        return to_dict(self)

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> "HardwareSpec":
        """Builds a description from the data of `to_dict`.

        Raises:
            HardwareError: A field is missing, unknown or not accepted.
        """
        from cost_models.hardware_dict import from_dict

        return from_dict(data)

    @staticmethod
    def load(name_or_path: str | Path) -> "HardwareSpec":
        """Loads a preset by name, or a TOML file by path.

        Raises:
            HardwareError: No such preset or file, or a fault in the file.
        """
        from cost_models.hardware_file import load

        return load(name_or_path)

    @staticmethod
    def preset_names() -> tuple[str, ...]:
        """Returns the names of the shipped presets, sorted."""
        from cost_models.hardware_file import preset_names

        return preset_names()
