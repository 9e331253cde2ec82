"""What goes into a traced phase and what comes out of it, by name and role."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from partitioner.jaxpr import Atom, Var, aval_of, shape_of

Role = Literal["param", "cache", "cursor", "token", "position", "mask", "rng", "const", "logits"]
INDEX_ROLES: frozenset[str] = frozenset({"token", "position", "mask", "cursor"})


@dataclass(frozen=True)
class Element:
    """Says which element of a stacked array of the model an input is.

    Attributes:
        whole: Name of the array.
        whole_shape: Its shape.
        indices: (axis, index), one after the other; none: the array itself.
    """

    whole: str
    whole_shape: tuple[int, ...]
    indices: tuple[tuple[int, int], ...]

    def of(self, array: Any) -> Any:
        """Returns the element of the array."""
        for axis, index in self.indices:
            array = array[(slice(None),) * axis + (index,)]
        return array


@dataclass(frozen=True)
class TracedInput:
    """Names an input and says what it is for.

    Attributes:
        name: Its path, with the indices of an element: ``blocks.attention.key[3]``.
        role: What it is for.
        var: Its variable.
        value: Set for constants found while tracing.
        element: Set for an element of a stacked array.
    """

    name: str
    role: Role
    var: Var
    value: Any = None
    element: Element | None = None

    def as_element(self) -> Element:
        """Returns which element of which array of the model it is; the array itself where it was not taken apart."""
        return self.element or Element(self.name, shape_of(self.var), ())

    def elements(self, axis: int, fresh: Callable[[Any], Var]) -> list[TracedInput]:
        """Returns the elements along an axis, as inputs of their own."""
        aval: Any = aval_of(self.var)
        inner = aval.update(shape=without(aval.shape, axis))
        whole = self.as_element()
        return [
            TracedInput(
                element_name(self.name, axis, n),
                self.role,
                fresh(inner),
                element=replace(whole, indices=(*whole.indices, (axis, n))),
            )
            for n in range(shape_of(self.var)[axis])
        ]


@dataclass(frozen=True)
class TracedOutput:
    """Names an output and says what it is for; a state output has the name of the state input it replaces."""

    name: str
    role: Role
    atom: Atom

    def elements(self, axis: int, atoms: Sequence[Atom]) -> list[TracedOutput]:
        """Returns elements along an axis as outputs of their own."""
        return [TracedOutput(element_name(self.name, axis, n), self.role, a) for n, a in enumerate(atoms)]


def element_name(name: str, axis: int, index: int) -> str:
    """Returns what an element along an axis is called: ``keys[3]``, or ``caches[:,:,1]``."""
    return f"{name}[{':,' * axis}{index}]"


def without(sizes: Sequence[int], axis: int) -> tuple[int, ...]:
    """Returns sizes, or places, but that of one axis."""
    return (*sizes[:axis], *sizes[axis + 1 :])
