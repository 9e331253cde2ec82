"""A stacked array while it is taken apart: its elements along one axis, and the equations that come of acting on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jax import lax

from partitioner.frontend.traced import without
from partitioner.jaxpr import Atom, Eqn, Literal, Var, aval_of, equations_of, fresh_variables, shape_of
from partitioner.known_values import KnownValues


@dataclass(frozen=True, eq=False)
class Stacked:
    """Stands for an array by its elements.

    Attributes:
        axis: Along which they lie.
        elements: One array each, without that axis.
        sources: Names of the inputs of which they are made.
    """

    axis: int
    elements: tuple[Atom, ...]
    sources: frozenset[str]

    @property
    def shape(self) -> tuple[int, ...]:
        """Returns the shape of the whole."""
        inner = shape_of(self.elements[0])
        return (*inner[: self.axis], len(self.elements), *inner[self.axis :])

    def each(self, axis: int, function: Callable[[Atom], Atom]) -> Stacked:
        """Returns what a function makes of each element, stacked along an axis."""
        return replace(self, axis=axis, elements=tuple(function(a) for a in self.elements))

    def part(self, start: int, stop: int) -> Stacked:
        """Returns some of the elements."""
        return replace(self, elements=self.elements[start:stop])


Value = Atom | Stacked


class Emitter:
    """Gathers equations, and knows who made what.

    Args:
        consts: Arrays that the equations close over, by variable.
    """

    def __init__(self, consts: Sequence[tuple[Var, Any]]) -> None:
        self.equations: list[Eqn] = []
        self.known = KnownValues(consts)
        self._maker: dict[Var, Eqn] = {}
        self._fresh = fresh_variables()

    def add(self, eqn: Eqn) -> None:
        """Takes an equation as it is."""
        self.equations.append(eqn)
        self.known.add(eqn)
        self._maker.update((v, eqn) for v in eqn.outvars)

    def like(self, eqn: Eqn, operands: Sequence[Atom], shape: Sequence[int], **changed: Any) -> Atom:
        """Adds an equation with other operands, a result of another shape, and some parameters changed."""
        aval: Any = aval_of(eqn.outvars[0])
        made = self._fresh(aval.update(shape=tuple(shape)))
        self.add(eqn.replace(invars=list(operands), outvars=[made], params={**eqn.params, **changed}))
        return made

    def traced(self, function: Callable[..., Any], *operands: Atom) -> Atom:
        """Adds what a function does to arrays."""
        equations, (result,) = equations_of(function, operands)
        for eqn in equations:
            self.add(eqn)
        return result

    def maker(self, atom: Atom) -> Eqn | None:
        """Returns the equation that makes a variable."""
        return None if isinstance(atom, Literal) else self._maker.get(atom)

    def columns(self, atom: Atom) -> list[Atom] | None:
        """Returns what was joined along the last axis, one entry wide each, to an array of indices."""
        eqn = self.maker(atom)
        last = len(shape_of(atom)) - 1
        if shape_of(atom)[last:] == (1,):
            return [atom]
        if eqn is None or eqn.primitive.name != "concatenate" or eqn.params["dimension"] != last:
            return None
        return list(eqn.invars) if all(shape_of(a)[last] == 1 for a in eqn.invars) else None

    def element(self, value: Value, axis: int, index: int) -> Atom:
        """Returns one element of an array along an axis; what was given an axis of one is taken without it."""
        if isinstance(value, Stacked) and value.axis == axis:
            return value.elements[index]
        assert not isinstance(value, Stacked)
        eqn = self.maker(value)
        shape = shape_of(value)
        if eqn is not None and shape[axis] == 1 and shape_of(eqn.invars[0]) == without(shape, axis):
            kept = tuple(d for d in range(len(shape)) if d != axis)
            spread = eqn.primitive.name == "broadcast_in_dim"
            if eqn.primitive.name == "reshape" or (
                spread and tuple(eqn.params["broadcast_dimensions"]) == kept
            ):
                return eqn.invars[0]
        return self.traced(lambda a: lax.index_in_dim(a, index, axis, keepdims=False), value)

    def joined(self, arrays: Sequence[Atom], axis: int) -> Atom:
        """Returns arrays joined along an axis."""
        return self.traced(lambda *given: lax.concatenate(given, axis), *arrays)

    def whole(self, stacked: Stacked) -> Atom:
        """Returns the array itself, put together again."""
        return self.traced(
            lambda *given: lax.concatenate([lax.expand_dims(x, [stacked.axis]) for x in given], stacked.axis),
            *stacked.elements,
        )
