"""A compiled function with its arguments as two numbers, so that a thread which knows neither can call it."""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_WORD = ir.IntType(64)
_CALLED_WITH = (types.int64, types.int64)  # where the arguments are, and the part


def _build_address_of(typing_context: Any, arguments: Any) -> tuple[Any, Callable[..., Any]]:
    """Stores a tuple in the calling function's frame and gives its address, which is good until that function returns."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.ptrtoint(cgutils.alloca_once_value(builder, given[0]), _WORD)

    return types.int64(arguments), build


def _build_call_of(typing_context: Any, function: Any, arguments: Any) -> tuple[Any, Callable[..., Any]]:
    """Compiles ``function(part, *arguments)`` into one that reads the arguments at an address, and gives that one's address."""
    called = function.get_call_type(typing_context, (types.int64, *arguments.types), {})

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = context.call_conv.get_function_type(types.none, _CALLED_WITH)
        unpacking = ir.Function(builder.module, kind, builder.module.get_unique_name("unpacking"))
        unpacking.linkage = "internal"
        inside = ir.IRBuilder(unpacking.append_basic_block("entry"))
        address, part = context.call_conv.get_arguments(unpacking)
        tuple_at = inside.inttoptr(address, context.get_value_type(arguments).as_pointer())
        packed = inside.load(tuple_at)
        given_on = (inside.extract_value(packed, index) for index in range(len(arguments.types)))
        unpacked = [
            _borrowed(context, inside, kind, value)
            for kind, value in zip(arguments.types, given_on, strict=True)
        ]
        context.get_function(function, called)(inside, [part, *unpacked])
        context.call_conv.return_value(inside, context.get_dummy_value())
        return builder.ptrtoint(unpacking, _WORD)

    return types.int64(function, arguments), build


def _borrowed(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """Returns an argument whose arrays nobody counts the uses of.

    The caller keeps them until all parts are done. Counted, every slice that a thread takes would write to one number that
    all threads share: sixteen of them then attend at the rate of three.
    """
    if isinstance(kind, types.Array):
        array: Any = context.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        inner_kinds: Any = kind  # a tuple's type can be iterated, which it does not say
        for index, inner in enumerate(inner_kinds):
            part = _borrowed(context, builder, inner, builder.extract_value(value, index))
            value = builder.insert_value(value, part, index)
    return value


def _build_call_part(
    typing_context: Any, call: Any, arguments: Any, part: Any
) -> tuple[Any, Callable[..., Any]]:
    """Calls what two numbers stand for, and tells whether it failed."""

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = context.call_conv.get_function_type(types.none, _CALLED_WITH)
        unpacking = builder.inttoptr(given[0], kind.as_pointer())
        status, _ = context.call_conv.call_function(
            builder, unpacking, types.none, _CALLED_WITH, list(given[1:])
        )
        return status.is_error

    return types.boolean(types.int64, *_CALLED_WITH), build


# An intrinsic is called without its typing context, which only the compiler knows; hence Any.
address_of: Any = intrinsic(_build_address_of)
call_of: Any = intrinsic(_build_call_of)
call_part: Any = intrinsic(_build_call_part)
