"""JAX's devices: their type, which jax itself names by a variable that type checkers do not take, their memory, and meshes.

Several GPUs of one host are one :class:`jax.sharding.Mesh` with a single axis. Wherever a device is meant, a mesh may stand.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding, SingleDeviceSharding

JaxDevice: TypeAlias = Any
"""One of JAX's devices, or a mesh of several."""

_AXIS = "model"


def mesh_of(devices: list[JaxDevice]) -> Mesh:
    """Returns several devices as one, over which arrays are cut along an axis, or lie whole on each."""
    return Mesh(np.array(devices), (_AXIS,))


def first_of(device: JaxDevice) -> JaxDevice:
    """Returns a device itself, or the first one of a mesh."""
    return device.devices.flat[0] if isinstance(device, Mesh) else device


def num_devices(device: JaxDevice) -> int:
    """Returns how many devices a mesh has; 1 for a single one."""
    return device.devices.size if isinstance(device, Mesh) else 1


def has_own_memory(device: JaxDevice) -> bool:
    """Tells whether a device computes from memory of its own, into which everything is copied."""
    return first_of(device).platform != "cpu"


def memory_bytes(device: JaxDevice) -> float | None:
    """Returns how many bytes JAX may take of a device's own memory; None where it has none, or does not say."""
    stats = device.memory_stats() if has_own_memory(device) else None
    return float(stats["bytes_limit"]) if stats and "bytes_limit" in stats else None


def sharding_on(device: JaxDevice, axis: int | None = None) -> Sharding:
    """Returns how an array lies on a device.

    Args:
        device: The device.
        axis: On a mesh, the axis along which it is cut into equal parts; None where every device has all of it.
    """
    if not isinstance(device, Mesh):
        return SingleDeviceSharding(device)
    spec = PartitionSpec() if axis is None else PartitionSpec(*[None] * axis, _AXIS)
    return NamedSharding(device, spec)
