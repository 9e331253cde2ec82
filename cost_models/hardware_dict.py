"""A hardware description as JSON-able data, and back; plan files embed it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from cost_models.components import ComputeSpec, DriveSpec, EngineSpec, FlashSpec, LinkSpec
from cost_models.emulation import EmulationSpec
from cost_models.errors import HardwareError
from cost_models.faults import FaultSpec
from cost_models.hardware import HardwareSpec
from cost_models.software import SoftwareSpec

T = TypeVar("T")


def to_dict(hw: HardwareSpec) -> dict[str, Any]:
    """Returns plain dicts, lists, texts, numbers and booleans that `from_dict` reads back exactly."""
    return _plain(hw)


def from_dict(data: Mapping[str, Any]) -> HardwareSpec:
    """Builds a description from the data of `to_dict`.

    Raises:
        HardwareError: A field is missing, unknown or not accepted; the message names it.
    """
    fields = dict(_table(data, "hardware"))
    for name in ("gpus", "drives", "links"):
        if not isinstance(fields.get(name), list | tuple):
            raise HardwareError(f"hardware.{name} = {fields.get(name)!r} is not accepted: expected a list")
    if not isinstance(fields.get("ports"), Mapping):
        raise HardwareError(f"hardware.ports = {fields.get('ports')!r} is not accepted: expected a table")
    fields["gpus"] = tuple(_build(ComputeSpec, gpu, f"gpu{i}") for i, gpu in enumerate(fields["gpus"]))
    fields["host"] = _build(ComputeSpec, fields.get("host"), "host")
    fields["drives"] = tuple(_drive(drive, f"csd{i}") for i, drive in enumerate(fields["drives"]))
    fields["links"] = tuple(_build(LinkSpec, link, f"links[{i}]") for i, link in enumerate(fields["links"]))
    if fields.get("software") is not None:
        fields["software"] = _build(SoftwareSpec, fields["software"], "software")
    if fields.get("emulation") is not None:
        fields["emulation"] = _build(EmulationSpec, fields["emulation"], "emulation")
    return _build(HardwareSpec, fields, "hardware")


def _plain(value: Any) -> Any:
    """Turns specifications, mappings and tuples into plain data."""
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _drive(data: Any, where: str) -> DriveSpec:
    """Builds a drive with its flash and, unless null, its engine and its faults."""
    fields = dict(_table(data, where))
    fields["flash"] = _build(FlashSpec, fields.get("flash"), f"{where}.flash")
    if fields.get("engine") is not None:
        fields["engine"] = _build(EngineSpec, fields["engine"], f"{where}.engine")
    if fields.get("faults") is not None:
        fields["faults"] = _build(FaultSpec, fields["faults"], f"{where}.faults")
    return _build(DriveSpec, fields, where)


def _table(data: Any, where: str) -> Mapping[str, Any]:
    """Requires a table."""
    if not isinstance(data, Mapping):
        raise HardwareError(f"{where} = {data!r} is not accepted: expected a table of values")
    return data


def _build(spec: type[T], data: Any, where: str) -> T:
    """Builds one specification, naming where a fault lies."""
    table = _table(data, where)
    fields = dataclasses.fields(spec)  # type: ignore[arg-type]
    known = [field.name for field in fields]
    optional = (dataclasses.MISSING,)
    for name in table:
        if name not in known:
            raise HardwareError(f"{where} has an unknown field {name!r}; accepted are {', '.join(known)}")
    for field in fields:
        required = field.default in optional and field.default_factory in optional
        if required and field.name not in table:
            raise HardwareError(f"{where} lacks the field {field.name!r}")
    try:
        return spec(**table)
    except HardwareError as error:
        raise HardwareError(f"{where}: {error}") from None
    except (TypeError, AttributeError) as error:
        raise HardwareError(f"{where} has a value of the wrong type: {error}") from None
