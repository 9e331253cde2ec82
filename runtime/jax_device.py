"""The type of JAX's devices, which jax itself names by a variable that type checkers do not take."""

from __future__ import annotations

from typing import Any, TypeAlias

JaxDevice: TypeAlias = Any
