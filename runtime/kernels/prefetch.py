"""Asking for memory before it is needed."""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from runtime.kernels.compiling import inner


def _build_prefetch(typing_context: Any, address: Any) -> Any:
    """Asks for a line of memory, into the second-level cache: the first level tracks fewer lines that are on their way."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())
        word = ir.IntType(32)
        prefetch = builder.module.declare_intrinsic(
            "llvm.prefetch", (pointer.type,), ir.FunctionType(ir.VoidType(), [pointer.type, word, word, word])
        )
        for_reading, second_level, data = word(0), word(2), word(1)
        builder.call(prefetch, [pointer, for_reading, second_level, data])
        return context.get_dummy_value()

    return types.void(types.int64), build


# An intrinsic is called without its typing context, which only the compiler knows; hence Any.
_prefetch: Any = intrinsic(_build_prefetch)


@inner
def prefetch_all(address: int, num_bytes: int) -> None:
    """Asks for a range of memory before it is needed."""
    for line in range(0, num_bytes, 64):
        _prefetch(address + line)


@inner
def prefetch_tokens(addresses: np.ndarray, token_bytes: int) -> None:
    """Asks for tokens, int64 ``[n]`` addresses, before they are needed."""
    for t in range(len(addresses)):
        prefetch_all(addresses[t], token_bytes)
