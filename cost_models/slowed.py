"""A system that is slower throughout by one factor, for machines that cannot keep up with the one described."""

import dataclasses
from typing import Any

from cost_models.checks import require_positive
from cost_models.components import ComputeSpec, DriveSpec
from cost_models.hardware import HardwareSpec

_INVERSE_RATES = (
    "launch_s",
    "kernel_s",
    "matvec_s",
    "command_s",
    "setup_s",
    "latency_s",
    "t_read_s",
    "t_program_s",
    "t_erase_s",
    "layer_s",
)
_RATES = (
    "memory_bytes_per_s",
    "channel_bytes_per_s",
    "dram_bytes_per_s",
    "bytes_per_s",
    "flops",
    "storage_bytes_per_s",
    "host_copy_bytes_per_s",
    "swap_bytes_per_s",
    "engine_flops",
)


def slowed(hw: HardwareSpec, factor: float) -> HardwareSpec:
    """Returns the system with rates divided and latencies multiplied by ``factor``; capacities, prices and powers stay.

    Every predicted time grows by exactly ``factor``. A slowed processor is no longer the real one, so
    it is marked as emulated.
    """
    require_positive("factor", factor)
    if factor == 1:
        return hw
    remark = f"slowed down {factor:g} times: rates divided, latencies multiplied, capacities unchanged"
    return dataclasses.replace(
        hw,
        gpus=tuple(_slow_compute(gpu, factor) for gpu in hw.gpus),
        host=_slow_compute(hw.host, factor),
        drives=tuple(_slow_drive(drive, factor) for drive in hw.drives),
        links=tuple(_slow_fields(link, factor) for link in hw.links),
        software=None if hw.software is None else _slow_fields(hw.software, factor),
        remarks=(*hw.remarks, remark),
    )


def _slow_fields(spec: Any, factor: float) -> Any:
    """Returns a frozen dataclass with its rates divided and latencies multiplied."""
    changes: dict[str, float] = {}
    for field in dataclasses.fields(spec):
        if field.name in _RATES:
            changes[field.name] = getattr(spec, field.name) / factor
        elif field.name in _INVERSE_RATES:
            changes[field.name] = getattr(spec, field.name) * factor
    return dataclasses.replace(spec, **changes)


def _slow_compute(spec: ComputeSpec, factor: float) -> ComputeSpec:
    """Returns a slower processor, emulated."""
    peaks = {dtype: flops / factor for dtype, flops in spec.peak_flops.items()}
    return dataclasses.replace(_slow_fields(spec, factor), peak_flops=peaks, emulated=True)


def _slow_drive(spec: DriveSpec, factor: float) -> DriveSpec:
    """Returns a slower drive, with its flash and engine."""
    return dataclasses.replace(
        _slow_fields(spec, factor),
        flash=_slow_fields(spec.flash, factor),
        engine=None if spec.engine is None else _slow_fields(spec.engine, factor),
    )
