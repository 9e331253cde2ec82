"""The tables of a hardware file that describe drives which this machine emulates, as another description has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from cost_models import EmulationSpec, HardwareSpec
from runtime.cli.calibration.numbers import sourced


def drive_tables(described: HardwareSpec) -> Iterator[str]:
    """Yields the lines of ``[drive]`` and the tables in it; faults are left out."""
    drive = described.drives[0]
    assert drive.engine is not None
    yield "[drive]"
    yield f"count = {len(described.drives)}"
    own = {f.name: getattr(drive, f.name) for f in dataclasses.fields(drive)}
    numbers = {k: v for k, v in own.items() if k not in ("flash", "engine", "faults") and v is not None}
    yield from _numbers(described, "drive", numbers)
    for key, part in (("flash", drive.flash), ("engine", drive.engine)):
        yield from ("", f"[drive.{key}]")
        yield from _numbers(described, f"drive.{key}", dataclasses.asdict(part))


def link_tables(described: HardwareSpec) -> Iterator[str]:
    """Yields the lines of ``[link.drive]`` and, where drives share one, ``[link.switch]``."""
    own, *shared = described.ports["csd0"]
    for key, name in zip(("drive", "switch"), (own, *shared), strict=False):
        link = described.link(name)
        yield from ("", f"[link.{key}]")
        if key == "switch":
            yield f"drives = {described.drives_per_switch}"
        values = {"bytes_per_s": link.bytes_per_s, "latency_s": link.latency_s}
        yield from _numbers(described, f"link.{key}", values)


def emulation_table(spec: EmulationSpec, source: str) -> Iterator[str]:
    """Yields the lines of ``[emulation]``."""
    yield from ("", "[emulation]")
    for field in dataclasses.fields(spec):
        yield sourced(field.name, getattr(spec, field.name), source)


def _numbers(described: HardwareSpec, table: str, values: Mapping[str, float]) -> Iterator[str]:
    for key, value in values.items():
        yield sourced(key, value, described.source_of(f"{table}.{key}"), digits=None)
