"""Floating-point operations of one jaxpr equation.

Products and sums count one each, so a multiply-add counts two. Moving data counts none.
"""

import math
from collections.abc import Iterable

from cost_models.errors import WorkError
from cost_models.jaxpr_protocol import Equation, num_elements, shape_of
from cost_models.primitive_table import (
    CALLS,
    COMBINING_UPDATES,
    FLOPS_PER_ELEMENT,
    IN_PLACE_UPDATE_OPERAND,
    RANDOM_BITS,
    REDUCTIONS,
    SCANS,
    SORTS,
    THREEFRY_FLOPS_PER_WORD,
    UNKNOWN_FLOPS_PER_ELEMENT,
    WINDOW_REDUCTIONS,
    is_known,
    primitive_class,
)


def equation_flops(eqn: Equation) -> float:
    """Returns the FLOP of an equation.

    Contractions are exact from their dimension numbers; reductions and scans cost one per element read;
    sorting compares ``n log2 n`` times along its dimension; slices, gathers and views cost nothing.

    Raises:
        WorkError: The equation is call-like; inline it first.
    """
    name = eqn.primitive.name
    _reject_call(eqn)
    if name == "dot_general":
        return _dot_flops(eqn)
    if name == "conv_general_dilated":
        return _conv_flops(eqn)
    if name in REDUCTIONS or name in SCANS:
        return float(sum(num_elements(value) for value in eqn.invars))
    if name in WINDOW_REDUCTIONS:
        return float(_results(eqn) * math.prod(eqn.params["window_dimensions"]))
    if name in SORTS:
        return _sort_flops(eqn)
    if name in COMBINING_UPDATES:
        return float(num_elements(eqn.invars[IN_PLACE_UPDATE_OPERAND[name]]))
    if name in RANDOM_BITS:
        return THREEFRY_FLOPS_PER_WORD * _results(eqn)
    if name == "integer_pow":
        return float(_results(eqn) * _power_products(eqn.params["y"]))
    if primitive_class(name) != "ELEMENTWISE":
        return 0.0
    return FLOPS_PER_ELEMENT.get(name, UNKNOWN_FLOPS_PER_ELEMENT) * _results(eqn)


def unknown_primitives(equations: Iterable[Equation]) -> frozenset[str]:
    """Returns the names of primitives that are not in the tables and are costed as element-wise ones."""
    return frozenset(eqn.primitive.name for eqn in equations if not is_known(eqn.primitive.name))


def _reject_call(eqn: Equation) -> None:
    """Raises for equations whose work is in an inner jaxpr."""
    name = eqn.primitive.name
    inner = any(hasattr(value, "eqns") or hasattr(value, "jaxpr") for value in eqn.params.values())
    if name in CALLS or (inner and not is_known(name)):
        raise WorkError(
            f"{name} is a call-like primitive and has no work of its own; inline it before costing"
        )


def _results(eqn: Equation) -> int:
    """Counts the elements of the first result; further results come along with it."""
    return num_elements(eqn.outvars[0]) if eqn.outvars else 0


def _dot_flops(eqn: Equation) -> float:
    """Counts a multiply-add per result element and contracted index."""
    (lhs_contracting, _), _ = eqn.params["dimension_numbers"]
    lhs_shape = shape_of(eqn.invars[0])
    return 2.0 * _results(eqn) * math.prod(lhs_shape[axis] for axis in lhs_contracting)


def _conv_flops(eqn: Equation) -> float:
    """Counts a multiply-add per result element and kernel element of its output feature."""
    kernel_shape = shape_of(eqn.invars[1])
    out_features = kernel_shape[eqn.params["dimension_numbers"].rhs_spec[0]]
    return 2.0 * _results(eqn) * math.prod(kernel_shape) / out_features


def _sort_flops(eqn: Equation) -> float:
    """Counts the comparisons of sorting, or of keeping the k largest in a heap."""
    shape = shape_of(eqn.invars[0])
    axis = eqn.params.get("dimension", -1)
    length = eqn.params["k"] if "k" in eqn.params else (shape[axis] if shape else 1)
    return num_elements(eqn.invars[0]) * math.log2(max(length, 2))


def _power_products(exponent: int) -> int:
    """Counts the products of raising to a whole power by squaring, and the reciprocal of a negative one."""
    size = abs(exponent)
    products = max(size.bit_length() - 1 + size.bit_count() - 1, 0)
    return products + (int(FLOPS_PER_ELEMENT["div"]) if exponent < 0 else 0)
