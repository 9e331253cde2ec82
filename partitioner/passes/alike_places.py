"""Tells along which axes equations do the same at every place, so that one place stands for all."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from cost_models import is_elementwise
from partitioner.ir.layout import product
from partitioner.jaxpr import Atom, Eqn, Var, borders, dtype_of, is_literal, made_of, shape_of, variables

_ALIKE = frozenset(
    {
        "broadcast_in_dim",
        "convert_element_type",
        "expand_dims",
        "reshape",
        "squeeze",
        "stop_gradient",
        "transpose",
    }
)
"""Primitives beside the element-wise ones that do the same along every axis they do not reduce."""
_REDUCTIONS = frozenset({"reduce_max", "reduce_sum"})
_UPDATES = {"dynamic_update_slice": (0, 1), "scatter": (0, 2)}
"""Operand and update: along an axis that both have whole, every place is written alike."""


def places_are_alike(equations: Sequence[Eqn], given: Collection[Var], size: int) -> bool:
    """Tells whether all places along axes of a size are treated alike.

    So it is where these axes come in with some values alone: nothing else has one, unless it is the same all along it, and
    what reads these values does the same along the axis everywhere.

    Args:
        equations: In execution order.
        given: Values that may differ along such axes.
        size: The size.
    """
    others = [v for v in borders(equations) if v not in given]
    literals = [a for e in equations for a in e.invars if is_literal(a)]
    if _have(others, size) or _have(literals, size) or any(_is_number(a, size) for a in literals):
        return False
    made = {id(e) for e in made_of(given, equations)}
    return all(_is_alike(e, size) if id(e) in made else _is_same(e, size) for e in equations)


def reshapes_fit(equations: Iterable[Eqn], sizes: Mapping[int, int]) -> bool:
    """Tells whether arrays that are reshaped have as many elements before as after, once sizes are replaced."""

    def elements(atom: Atom) -> int:
        return product(sizes.get(n, n) for n in shape_of(atom))

    reshaped = (e for e in equations if e.primitive.name == "reshape")
    return all(elements(e.invars[0]) == elements(e.outvars[0]) for e in reshaped)


def _is_same(eqn: Eqn, size: int) -> bool:
    """Tells whether what an equation makes is the same all along axes of a size."""
    spread = eqn.primitive.name == "broadcast_in_dim" and not _have(variables(eqn.invars), size)
    return spread or not _have(eqn.outvars, size)


def _is_alike(eqn: Eqn, size: int) -> bool:
    """Tells whether an equation does the same everywhere along axes of a size."""
    name = eqn.primitive.name
    if any(shape_of(a).count(size) > 1 for a in (*eqn.invars, *eqn.outvars)) and name == "dot_general":
        return False
    if name in _REDUCTIONS:
        return all(shape_of(eqn.invars[0])[axis] != size for axis in eqn.params["axes"])
    if name == "dot_general":
        contracted, _ = eqn.params["dimension_numbers"]
        sides = zip(eqn.invars, contracted, strict=True)
        return all(shape_of(a)[axis] != size for a, axes in sides for axis in axes)
    if name in _UPDATES:
        operand, update = (shape_of(eqn.invars[n]) for n in _UPDATES[name])
        return operand.count(size) == update.count(size) == 1
    return is_elementwise(name) or name in _ALIKE


def _have(atoms: Iterable[Atom], size: int) -> bool:
    return any(size in shape_of(a) for a in atoms)


def _is_number(literal: Atom, size: int) -> bool:
    value = getattr(literal, "val", None)
    return shape_of(literal) == () and dtype_of(literal).kind in "iu" and value == size
