"""Hardware descriptions from TOML: the shipped presets and files of users.

A file has ``name``, ``description`` and ``p2p``, the tables ``[gpu]`` and ``[host]``, optionally ``[drive]``
with ``[drive.flash]`` and ``[drive.engine]`` (no engine: a plain SSD), and the links ``[link.gpu]``,
``[link.drive]`` and optionally ``[link.switch]``, an uplink that ``drives`` drives share. ``count`` says how
many of a device there are.
``[drive.faults]`` says what goes wrong in the drives (see :class:`cost_models.faults.FaultSpec`; left out, nothing does), and
``[drive.faults.csd1]`` what is different in that drive.
``[emulation]`` says what the machine that runs plans takes to emulate the drives (left out, they are taken to be real).
Prices (``price_usd``) and powers (``idle_w``, ``active_w``) of ``[gpu]``, ``[host]`` and ``[drive]`` can be left
out, and so can ``service_life_s`` and ``electricity_usd_per_j`` of the whole system.
Every number is written with its source: ``key = { value = 48e9, source = "..." }``.
"""

import dataclasses
import tomllib
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from cost_models.components import ComputeSpec, DriveSpec, EngineSpec, FlashSpec, LinkSpec
from cost_models.emulation import EmulationSpec
from cost_models.errors import HardwareError
from cost_models.faults import FaultSpec
from cost_models.hardware import HardwareSpec
from cost_models.software import SoftwareSpec
from cost_models.toml_table import TomlTable

T = TypeVar("T")
N = TypeVar("N", SoftwareSpec, EmulationSpec)

_UPKEEP = ("price_usd", "idle_w", "active_w")


def preset_names() -> tuple[str, ...]:
    """Returns the names of the shipped presets, sorted."""
    folder = files("cost_models") / "presets"
    return tuple(sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml")))


def load(name_or_path: str | Path) -> HardwareSpec:
    """Loads a preset by name, or a TOML file by path.

    Raises:
        HardwareError: No such preset or file, or a fault in the file.
    """
    given = str(name_or_path)
    if given in preset_names():
        text = (files("cost_models") / "presets" / f"{given}.toml").read_text(encoding="utf-8")
        return parse(text, f"preset {given}")
    path = Path(name_or_path)
    if not path.is_file():
        known = ", ".join(preset_names())
        raise HardwareError(f"no preset or file {given!r}; presets are {known}; or give a TOML file's path")
    try:
        return parse(path.read_text(encoding="utf-8"), given)
    except (OSError, UnicodeDecodeError) as error:
        raise HardwareError(f"{given}: cannot be read as a text file ({error}); expected TOML") from None


def parse(text: str, file: str) -> HardwareSpec:
    """Parses a hardware description; ``file`` names it in errors.

    Raises:
        HardwareError: A fault in the text, with the key that has it.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HardwareError(f"{file}: not well-formed TOML: {error}") from None
    sources: dict[str, str] = {}
    root = TomlTable(data, file, "", sources)
    name, description = root.text("name"), root.text("description")
    p2p = root.flag("p2p")
    life, electricity = root.optional_number("service_life_s"), root.optional_number("electricity_usd_per_j")
    gpus = _compute(root.table("gpu"), "gpu", file)
    host = _compute(root.table("host"), "host", file)
    drives = _drives(root.table("drive"), file) if root.has("drive") else ()
    links, ports, per_switch = _wiring(root.table("link"), file, len(gpus), len(drives))
    software, emulation = _numbers(SoftwareSpec, root, "software"), _numbers(EmulationSpec, root, "emulation")
    root.finish()
    return _construct(
        file,
        "hardware",
        lambda: HardwareSpec(
            name=name,
            description=description,
            gpus=gpus,
            host=host[0],
            drives=drives,
            links=links,
            ports=ports,
            p2p=p2p,
            sources=sources,
            drives_per_switch=per_switch,
            service_life_s=life,
            electricity_usd_per_j=electricity,
            software=software,
            emulation=emulation,
        ),
    )


def _construct(file: str, where: str, build: Callable[[], T]) -> T:
    """Builds a specification and adds file and table to what its constructor rejects."""
    try:
        return build()
    except HardwareError as error:
        raise HardwareError(f"{file}: {where}.{error}") from None


def _compute(table: TomlTable, kind: str, file: str) -> tuple[ComputeSpec, ...]:
    """Reads ``[gpu]`` or ``[host]``: as many equal processors as ``count`` says."""
    count = table.count("count", default=1) if kind == "gpu" else 1
    peaks = table.table("peak_flops")
    fields: dict[str, Any] = {
        "name": table.text("name"),
        "kind": kind,
        "emulated": table.flag("emulated", default=False),
        "peak_flops": peaks.numbers(),
        "memory_bytes": table.number("memory_bytes"),
        "memory_bytes_per_s": table.number("memory_bytes_per_s"),
        "launch_s": table.number("launch_s"),
        "memory_efficiency": table.number("memory_efficiency"),
        "compute_efficiency": table.number("compute_efficiency"),
        **{key: table.optional_number(key) for key in _UPKEEP},
    }
    for key in ("attention_efficiency", "kernel_s", "matvec_s"):
        if table.has(key):
            fields[key] = table.number(key)
    table.finish()
    return (_construct(file, kind, lambda: ComputeSpec(**fields)),) * count


def _drives(table: TomlTable, file: str) -> tuple[DriveSpec, ...]:
    """Reads ``[drive]``: as many equal drives as ``count`` says."""
    count = table.count("count", default=1)
    flash = _flash(table.table("flash"), file)
    engine = _engine(table.table("engine"), file) if table.has("engine") else None
    fields: dict[str, Any] = {
        "dram_bytes": table.number("dram_bytes"),
        "dram_bytes_per_s": table.number("dram_bytes_per_s"),
        "command_s": table.number("command_s"),
        **{key: table.optional_number(key) for key in _UPKEEP},
    }
    faults = _faults(table.table("faults"), file, count) if table.has("faults") else (None,) * count
    table.finish()
    drive = _construct(file, "drive", lambda: DriveSpec(flash=flash, engine=engine, **fields))
    return tuple(dataclasses.replace(drive, faults=own) for own in faults)


def _faults(table: TomlTable, file: str, num_drives: int) -> tuple[FaultSpec, ...]:
    """Reads ``[drive.faults]`` and the tables in it that change some of its values for one drive."""
    every = _construct(file, "drive.faults", lambda: _changed(FaultSpec(), table))
    own: list[FaultSpec] = []
    for name in (f"csd{index}" for index in range(num_drives)):
        faults = every
        if table.has(name):
            one = table.table(name)
            faults = _construct(file, f"drive.faults.{name}", partial(_changed, every, one))
            one.finish()
        own.append(faults)
    table.finish()
    return tuple(own)


def _changed(faults: FaultSpec, table: TomlTable) -> FaultSpec:
    """Returns faults with the values that a table has."""
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(FaultSpec):
        if table.has(field.name):
            whole = field.name in ("seed", "read_retries_max", "stop_after_commands")
            changes[field.name] = table.whole(field.name) if whole else table.number(field.name)
    return dataclasses.replace(faults, **changes)


def _flash(table: TomlTable, file: str) -> FlashSpec:
    """Reads ``[drive.flash]``."""
    wholes = (
        "channels",
        "dies_per_channel",
        "planes_per_die",
        "blocks_per_plane",
        "pages_per_block",
        "page_bytes",
        "rated_pe_cycles",
    )
    fields: dict[str, Any] = {key: table.whole(key) for key in wholes}
    for key in ("channel_bytes_per_s", "t_read_s", "t_program_s", "t_erase_s"):
        fields[key] = table.number(key)
    table.finish()
    return _construct(file, "drive.flash", lambda: FlashSpec(**fields))


def _engine(table: TomlTable, file: str) -> EngineSpec:
    """Reads ``[drive.engine]``."""
    fields = {key: table.number(key) for key in ("flops", "bytes_per_s", "setup_s")}
    table.finish()
    return _construct(file, "drive.engine", lambda: EngineSpec(**fields))


def _numbers(spec: type[N], root: TomlTable, key: str) -> N | None:
    """Reads a table that may be left out and has a number for each field of a specification."""
    if not root.has(key):
        return None
    table = root.table(key)
    fields = {field.name: table.number(field.name) for field in dataclasses.fields(spec)}
    table.finish()
    return _construct(root.file, key, lambda: spec(**fields))


def _link(table: TomlTable, kind: str, name: str, file: str) -> LinkSpec:
    """Reads one link's rate and latency."""
    rate, latency = table.number("bytes_per_s"), table.number("latency_s")
    table.finish()
    return _construct(file, f"link.{kind}", lambda: LinkSpec(name=name, bytes_per_s=rate, latency_s=latency))


def _wiring(
    table: TomlTable, file: str, num_gpus: int, num_drives: int
) -> tuple[tuple[LinkSpec, ...], dict[str, tuple[str, ...]], int]:
    """Reads ``[link]``: the links, the path of each device, and how many drives share a switch."""
    links: list[LinkSpec] = []
    ports: dict[str, tuple[str, ...]] = {"host": ()}
    for index in range(num_gpus):
        links.append(_link(table.table("gpu"), "gpu", f"gpu{index}", file))
        ports[f"gpu{index}"] = (f"gpu{index}",)
    per_switch = 0
    if table.has("switch"):
        switch = table.table("switch")
        per_switch = switch.count("drives")
        if per_switch == 0:
            raise switch.error("drives", 0, "the number of drives below one switch, at least 1")
    for index in range(num_drives):
        links.append(_link(table.table("drive"), "drive", f"csd{index}", file))
        ports[f"csd{index}"] = (f"csd{index}",)
        if per_switch:
            name = f"switch{index // per_switch}"
            ports[f"csd{index}"] += (name,)
            if name not in {link.name for link in links}:
                below = table.table("switch")
                below.count("drives")
                links.append(_link(below, "switch", name, file))
    if table.has("peer"):
        links.append(_link(table.table("peer"), "peer", "peer", file))
    table.has("drive")
    table.finish()
    return tuple(links), ports, per_switch
