"""JAX's devices: their type, which jax itself names by a variable that type checkers do not take, and their memory."""

from __future__ import annotations

from typing import Any, TypeAlias

JaxDevice: TypeAlias = Any


def has_own_memory(device: JaxDevice) -> bool:
    """Tells whether a device computes from memory of its own, into which everything is copied."""
    return device.platform != "cpu"
