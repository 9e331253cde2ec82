"""The elements of stored keys and values, read as float32.

A kernel's inner loop is compiled once for each element type: it takes the function that reads one element.
"""

import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from runtime.kernels.compiling import inner

FLOAT16, BFLOAT16, FLOAT32 = 0, 1, 2
"""Element types of stored keys and values, as the kernels know them."""

ELEMENTS = {"float16": FLOAT16, "bfloat16": BFLOAT16, "float32": FLOAT32}
"""Element types by the name of their dtype."""


def _loads(element: ir.Type, result: types.Type) -> Callable[..., Any]:
    """Returns how to load one element of an array from the array's address and an index."""

    def build_load(typing_context: Any, address: Any, index: Any) -> Any:
        """Loads one element of an array."""

        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            pointer = builder.inttoptr(arguments[0], element.as_pointer())
            loaded = builder.load(builder.gep(pointer, [arguments[1]]))
            return builder.fpext(loaded, ir.FloatType()) if isinstance(element, ir.HalfType) else loaded

        return result(types.int64, types.int64), build

    return build_load


def _build_float_of(typing_context: Any, bits: Any) -> Any:
    """Reads 32 bits as a float."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), build


# An intrinsic is called without its typing context, which only the compiler knows; hence Any.
float_of: Any = intrinsic(_build_float_of)
_word_at: Any = intrinsic(_loads(ir.IntType(16), types.uint16))
_half_at: Any = intrinsic(_loads(ir.HalfType(), types.float32))
_float_at: Any = intrinsic(_loads(ir.FloatType(), types.float32))


@inner
def read_float(address: int, index: int) -> np.float32:
    """Returns an element of an array of float32."""
    return _float_at(address, index)


@inner
def read_bfloat(address: int, index: int) -> np.float32:
    """Returns an element of an array of bfloat16, which are the upper halves of floats."""
    return float_of(np.uint32(np.uint32(_word_at(address, index)) << np.uint32(16)))


@inner
def convert_half(address: int, index: int) -> np.float32:
    """Returns an element of an array of halves by the processor's own conversion."""
    return _half_at(address, index)


@inner
def rebuild_half(address: int, index: int) -> np.float32:
    """Returns an element of an array of halves on processors that cannot convert them.

    A half's exponent and fraction, moved into a float's place, give the number times 2**-112, subnormals
    included; an exponent of all ones stays all ones.
    """
    word = np.uint32(_word_at(address, index))
    bits = np.uint32((word & np.uint32(0x7FFF)) << np.uint32(13))
    if (word & np.uint32(0x7C00)) == np.uint32(0x7C00):
        bits = np.uint32(bits | np.uint32(0x7F800000))
    sign = np.uint32((word & np.uint32(0x8000)) << np.uint32(16))
    return float_of(np.uint32(bits | sign)) * np.float32(2.0**112)


def _converts_halves() -> bool:
    """Tells whether this machine's processor has an instruction that widens halves."""
    return platform.machine().lower() in ("arm64", "aarch64") or bool(
        binding.get_host_cpu_features().get("f16c", False)
    )


read_half: Any = convert_half if _converts_halves() else rebuild_half
"""Returns an element of an array of halves."""
