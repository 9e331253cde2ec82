"""Products of a matrix with a single vector, which compilers and libraries run at another rate than those of several rows."""

import math

from cost_models.jaxpr_protocol import Equation, Value, is_literal, num_elements, shape_of


def matrix_of_vector(eqn: Equation) -> Value | None:
    """Returns the matrix of a product whose other operand is one vector as a whole; of other equations none."""
    if eqn.primitive.name != "dot_general":
        return None
    ((lhs_contracting, _), _), (lhs, rhs) = eqn.params["dimension_numbers"], eqn.invars
    depth = math.prod(shape_of(lhs)[axis] for axis in lhs_contracting)
    vector, matrix = sorted((lhs, rhs), key=num_elements)
    return matrix if num_elements(vector) == depth and not is_literal(matrix) else None
