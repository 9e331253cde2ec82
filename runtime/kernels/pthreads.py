"""Mutexes and conditions of the C library, for compiled code that has let go of the interpreter.

A mutex or a condition is :data:`SLOT_BYTES` of memory that stays where it is; functions take its address.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

SLOT_BYTES = 128
"""Room for a ``pthread_mutex_t`` or a ``pthread_cond_t``: 40 and 48 bytes with glibc, 64 and 48 on macOS."""


def _emit(name: str, context: Any, builder: Any, addresses: Any) -> Any:
    """Emits a call of a function of the C library that takes pointers."""
    pointer = ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.IntType(32), [pointer] * len(addresses))
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    builder.call(function, [builder.inttoptr(address, pointer) for address in addresses])
    return context.get_dummy_value()


def _of_one(name: str) -> Any:
    """Returns a function of one address."""

    def build(typing_context: Any, address: Any) -> tuple[Any, Callable[..., Any]]:
        return types.void(types.int64), lambda context, builder, _, given: _emit(
            name, context, builder, given
        )

    return intrinsic(build)


def _of_two(name: str) -> Any:
    """Returns a function of two addresses."""

    def build(typing_context: Any, first: Any, second: Any) -> tuple[Any, Callable[..., Any]]:
        kind = types.void(types.int64, types.int64)
        return kind, lambda context, builder, _, given: _emit(name, context, builder, given)

    return intrinsic(build)


# An intrinsic is called without its typing context, which only the compiler knows; hence Any.
make_mutex: Any = _of_two("pthread_mutex_init")
"""Makes a mutex at an address; the second one, of attributes, is 0 for none."""

make_condition: Any = _of_two("pthread_cond_init")
"""Makes a condition at an address; the second one, of attributes, is 0 for none."""

lock: Any = _of_one("pthread_mutex_lock")
"""Waits for a mutex and takes it."""

unlock: Any = _of_one("pthread_mutex_unlock")
"""Gives a mutex back."""

wait: Any = _of_two("pthread_cond_wait")
"""Sleeps until a condition, the first address, may hold; the mutex, the second one, is given back meanwhile."""

wake_one: Any = _of_one("pthread_cond_signal")
"""Wakes one thread that waits for a condition."""

wake_all: Any = _of_one("pthread_cond_broadcast")
"""Wakes all threads that wait for a condition."""
