"""Which values of a program never need a kernel of their own, because each of their readers makes them on the way."""

from collections.abc import Iterable, Sequence

from cost_models.jaxpr_protocol import Equation, Value, is_literal
from cost_models.primitive_table import primitive_class

_MADE_ON_THE_WAY = ("ELEMENTWISE", "REDUCTION")
_READS_ON_THE_WAY = ("ELEMENTWISE", "REDUCTION", "SLICE")
_LOOKS_AT = ("VIEW", "SLICE")


def fused_outputs(equations: Sequence[Equation], outputs: Iterable[Value]) -> frozenset[Value]:
    """Returns the values that element-wise work makes and that element-wise work alone reads, views of either included.

    Where they lie on the border between two groups of equations that run in one program, as the sum of a product and its
    bias does that a residual stream is added to, the reader's kernel makes them too.

    Args:
        equations: Those of a whole program, in an order in which they can run, without call-like ones.
        outputs: What leaves the program, which is never left out.
    """
    names = [eqn.primitive.name for eqn in equations]
    class_of = {name: primitive_class(name) for name in set(names)}
    classes = [class_of[name] for name in names]
    made: set[Value] = set()
    for eqn, kind in zip(equations, classes, strict=True):
        if kind in _MADE_ON_THE_WAY or (
            kind in _LOOKS_AT and not is_literal(eqn.invars[0]) and eqn.invars[0] in made
        ):
            made.update(eqn.outvars)
    stored = {value for value in outputs if not is_literal(value)}
    for eqn, kind in zip(reversed(equations), reversed(classes), strict=True):
        if kind in _READS_ON_THE_WAY or (kind == "VIEW" and stored.isdisjoint(eqn.outvars)):
            continue
        wanted = eqn.invars[:1] if kind == "IN_PLACE" else eqn.invars
        stored.update([value for value in wanted if not is_literal(value)])
    return frozenset(made - stored)
