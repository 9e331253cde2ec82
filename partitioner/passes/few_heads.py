"""Leaves out all heads but one of what lies between the two products of an attention, where all of them are treated alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from cost_models import is_elementwise
from partitioner.frontend.traced import INDEX_ROLES
from partitioner.ir.layout import product
from partitioner.jaxpr import Atom, Eqn, borders, dtype_of, is_literal, made_of, shape_of, variables
from partitioner.passes.run_weights import WeightsPart
from partitioner.passes.shrink_region import SizeRewrite

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


def few_heads(part: WeightsPart) -> WeightsPart:
    """Returns a part whose product has one head in place of several, as far as equations make nothing of which head it is.

    So it is where heads come in with q.K^T alone: nothing else has an axis of their size, unless it is the same all along it,
    and what reads q.K^T does the same along that axis everywhere.
    """
    sizes = {n for axis, n in enumerate(shape_of(part.product)) if axis != part.product_slots and n > 1}
    alike = {n: 1 for n in sorted(sizes) if n != part.phase.max_len and _is_alike(part, n)}
    if not alike or not _fits(part.equations, alike):
        return part
    rewrite = SizeRewrite(alike)
    equations = tuple(rewrite.equation(e) for e in part.equations)
    described = (i for i in part.phase.inputs if i.role in INDEX_ROLES or i.role == "const")
    inputs = tuple(dataclasses.replace(i, var=rewrite.var(i.var)) for i in described)
    phase = dataclasses.replace(part.phase, inputs=inputs, equations=(), outputs=())
    return dataclasses.replace(
        part,
        product=rewrite.var(part.product),
        weights=rewrite.var(part.weights),
        equations=equations,
        phase=phase,
    )


def _is_alike(part: WeightsPart, size: int) -> bool:
    """Tells whether all places along axes of a size are treated alike."""
    if part.weights is part.product or size == part.phase.batch_size:
        return False
    given = [v for v in borders(part.equations) if v is not part.product]
    literals = [a for e in part.equations for a in e.invars if is_literal(a)]
    if _have(given, size) or _have(literals, size) or any(_is_number(a, size) for a in literals):
        return False
    of_product = {id(e) for e in made_of(part.product, part.equations)}
    for eqn in part.equations:
        name = eqn.primitive.name
        if id(eqn) not in of_product:
            if _have(eqn.outvars, size) and (
                name != "broadcast_in_dim" or _have(variables(eqn.invars), size)
            ):
                return False
        elif name in _REDUCTIONS:
            if any(shape_of(eqn.invars[0])[axis] == size for axis in eqn.params["axes"]):
                return False
        elif not (is_elementwise(name) or name in _ALIKE):
            return False
    return True


def _fits(equations: Sequence[Eqn], sizes: dict[int, int]) -> bool:
    """Tells whether arrays that are reshaped have as many elements before as after, once sizes are replaced."""

    def elements(atom: Atom) -> int:
        return product(sizes.get(n, n) for n in shape_of(atom))

    reshaped = (e for e in equations if e.primitive.name == "reshape")
    return all(elements(e.invars[0]) == elements(e.outvars[0]) for e in reshaped)


def _have(atoms: Iterable[Atom], size: int) -> bool:
    return any(size in shape_of(a) for a in atoms)


def _is_number(literal: Atom, size: int) -> bool:
    value = getattr(literal, "val", None)
    return shape_of(literal) == () and dtype_of(literal).kind in "iu" and value == size
