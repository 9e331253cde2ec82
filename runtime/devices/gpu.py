"""The GPUs of a plan: as many of JAX's default devices, which are CPUs on machines without GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import jax

from cost_models.components import ComputeSpec
from cost_models.hardware import HardwareSpec
from runtime.devices.processor import Processor
from runtime.errors import SessionError
from runtime.event_log import EventLog
from runtime.jax_device import mesh_of
from runtime.pace import Pace


def make_gpu(hw: HardwareSpec, pace: Pace, log: EventLog, axes: Mapping[str, int]) -> Processor:
    """Returns ``gpu0``, which stands for all GPUs of a description.

    Args:
        hw: The description.
        pace: The clock, and how work relates to it.
        log: Takes what happens.
        axes: Along which parameters and caches are cut over several GPUs, by name.

    Raises:
        SessionError: JAX has fewer devices than the description has GPUs.
    """
    found, wanted = jax.devices(), len(hw.gpus)
    if len(found) < wanted:
        raise SessionError(
            f"the plan is for {wanted} GPUs, and JAX has {len(found)} {found[0].platform} device"
            f"{'s' if len(found) > 1 else ''}; run it where there are {wanted}, partition for hardware with "
            f"{len(found)}, or set XLA_FLAGS=--xla_force_host_platform_device_count={wanted} before jax is imported "
            "to try it on a CPU"
        )
    device = found[0] if wanted == 1 else mesh_of(found[:wanted])
    return Processor("gpu0", all_gpus(hw), device, pace, log, axes)


def all_gpus(hw: HardwareSpec) -> ComputeSpec:
    """Returns a GPU with the rates of all: weights and heads are split evenly among those of a host."""
    gpu, count = hw.gpus[0], len(hw.gpus)
    if count == 1:
        return gpu
    peaks = {dtype: flops * count for dtype, flops in gpu.peak_flops.items()}
    return replace(gpu, memory_bytes_per_s=gpu.memory_bytes_per_s * count, peak_flops=peaks)
