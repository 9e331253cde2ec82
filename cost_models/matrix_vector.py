"""Products of matrices with single vectors, which compilers and libraries run otherwise than those of several rows."""

import math

from cost_models.jaxpr_protocol import Equation, Value, is_literal, num_elements, shape_of


def is_matrix_of_vector(eqn: Equation) -> bool:
    """Tells whether an equation multiplies one matrix with one vector."""
    matrix = _of_vectors(eqn)
    return matrix is not None and min(map(num_elements, eqn.invars)) == _depth(eqn)


def matrices_of_vectors(eqn: Equation) -> Value | None:
    """Returns a batch of matrices of which each meets one vector of its own; of other equations none.

    K and V of a decode attention are one where heads do not share them.
    """
    matrices = _of_vectors(eqn)
    return None if matrices is None or is_matrix_of_vector(eqn) else matrices


def _of_vectors(eqn: Equation) -> Value | None:
    """Returns the larger operand of a product that multiplies each of its elements once."""
    if eqn.primitive.name != "dot_general" or is_literal(larger := max(eqn.invars, key=num_elements)):
        return None
    return larger if num_elements(eqn.outvars[0]) * _depth(eqn) == num_elements(larger) else None


def _depth(eqn: Equation) -> int:
    """Returns how many products each element of the result is a sum of."""
    (contracting, _), _ = eqn.params["dimension_numbers"]
    return math.prod(shape_of(eqn.invars[0])[axis] for axis in contracting)
