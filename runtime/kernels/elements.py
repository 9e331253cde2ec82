"""The elements of stored keys and values, widened to float32."""

import platform
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic
from numba.np.numpy_support import carray

from runtime.kernels.compiling import inner

FLOAT16, BFLOAT16, FLOAT32 = 0, 1, 2
"""Element types of stored keys and values, as the kernels know them."""

ELEMENTS = {"float16": FLOAT16, "bfloat16": BFLOAT16, "float32": FLOAT32}
"""Element types by the name of their dtype."""


def _build_uint16_at(typing_context: Any, address: Any) -> Any:
    """Makes a pointer to 16-bit words from an address."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(16).as_pointer())

    return types.CPointer(types.uint16)(types.int64), build


def _build_uint32_at(typing_context: Any, address: Any) -> Any:
    """Makes a pointer to 32-bit words from an address."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(32).as_pointer())

    return types.CPointer(types.uint32)(types.int64), build


def _build_float_of(typing_context: Any, bits: Any) -> Any:
    """Reads 32 bits as a float."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), build


def _build_half_at(typing_context: Any, address: Any, index: Any) -> Any:
    """Reads a half of an array as a float."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        halves = builder.inttoptr(arguments[0], ir.HalfType().as_pointer())
        return builder.fpext(builder.load(builder.gep(halves, [arguments[1]])), ir.FloatType())

    return types.float32(types.int64, types.int64), build


# An intrinsic is called without its typing context, which only the compiler knows; hence Any.
_uint16_at: Any = intrinsic(_build_uint16_at)
_uint32_at: Any = intrinsic(_build_uint32_at)
_float_of: Any = intrinsic(_build_float_of)
_half_at: Any = intrinsic(_build_half_at)


@inner
def _convert_halves(address: int, count: int, tile: np.ndarray) -> None:
    """Widens halves by the processor's own conversion."""
    for i in range(count):
        tile[i] = _half_at(address, i)


@inner
def _rebuild_halves(address: int, count: int, tile: np.ndarray) -> None:
    """Widens halves on processors that cannot convert them.

    A half's exponent and fraction, moved into a float's place, give the number times 2**-112, subnormals
    included; an exponent of all ones stays all ones.
    """
    scale = np.float32(2.0**112)
    halves = carray(_uint16_at(address), (count,))
    for i in range(count):
        word = np.uint32(halves[i])
        bits = np.uint32((word & np.uint32(0x7FFF)) << np.uint32(13))
        if (word & np.uint32(0x7C00)) == np.uint32(0x7C00):
            bits = np.uint32(bits | np.uint32(0x7F800000))
        sign = np.uint32((word & np.uint32(0x8000)) << np.uint32(16))
        tile[i] = _float_of(np.uint32(bits | sign)) * scale


def _converts_halves() -> bool:
    """Tells whether this machine's processor has an instruction that widens halves."""
    return platform.machine().lower() in ("arm64", "aarch64") or bool(
        binding.get_host_cpu_features().get("f16c", False)
    )


_widen_halves: Any = _convert_halves if _converts_halves() else _rebuild_halves


@inner
def widen(address: int, count: int, element: int, tile: np.ndarray) -> None:
    """Widens ``count`` elements at an address into a float32 tile."""
    if element == FLOAT16:
        _widen_halves(address, count, tile)
    elif element == BFLOAT16:
        upper = carray(_uint16_at(address), (count,))
        for i in range(count):
            tile[i] = _float_of(np.uint32(np.uint32(upper[i]) << np.uint32(16)))
    else:
        words = carray(_uint32_at(address), (count,))
        for i in range(count):
            tile[i] = _float_of(words[i])
