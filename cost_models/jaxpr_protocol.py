"""What the cost models need of a jaxpr equation, so that they need not import JAX.

Any object with these attributes will do; a literal is a value that also has ``val``.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Primitive(Protocol):
    """The operation of an equation."""

    @property
    def name(self) -> str:
        """The primitive's name, such as ``dot_general``."""
        ...


class Value(Protocol):
    """A variable or literal of a jaxpr."""

    @property
    def aval(self) -> Any:
        """The abstract value, with ``shape`` and ``dtype``."""
        ...


class Equation(Protocol):
    """An equation of a jaxpr."""

    @property
    def primitive(self) -> Primitive:
        """The operation."""
        ...

    @property
    def params(self) -> Mapping[str, Any]:
        """The operation's parameters."""
        ...

    @property
    def invars(self) -> Sequence[Any]:
        """The operands: variables and literals."""
        ...

    @property
    def outvars(self) -> Sequence[Any]:
        """The results."""
        ...


def is_literal(value: Value) -> bool:
    """Tells whether a value is a constant written into the jaxpr; it moves no bytes."""
    return hasattr(value, "val")


def shape_of(value: Value) -> tuple[int, ...]:
    """Returns the shape of a value; a token has none and counts as a scalar."""
    return tuple(getattr(value.aval, "shape", ()))


def num_elements(value: Value) -> int:
    """Returns the number of elements of a value."""
    return math.prod(shape_of(value))


def itemsize(value: Value) -> int:
    """Returns the bytes of one element; a value without dtype has none."""
    return getattr(getattr(value.aval, "dtype", None), "itemsize", 0)


def num_bytes(value: Value) -> int:
    """Returns the bytes of a value."""
    return num_elements(value) * itemsize(value)
