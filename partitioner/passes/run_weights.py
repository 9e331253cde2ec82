"""Runs what lies between the two products of an attention region: from q.K^T to the weights of V, at any length.

K, V and their sizes have no part in it, so that it can be run at the workload's own length.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from partitioner.frontend.trace import TracedPhase
from partitioner.frontend.traced import INDEX_ROLES
from partitioner.jaxpr import (
    Eqn,
    Literal,
    Var,
    borders,
    dtype_of,
    is_literal,
    made_of,
    needed_for,
    shape_of,
)
from partitioner.passes.find_attention import AttentionRegion
from partitioner.passes.logit_rule import ValidationError
from partitioner.passes.run_region import index_inputs, index_variables, runnable
from partitioner.passes.shrink_region import SizeRewrite

_MANY = 1 << 16
"""Elements of q.K^T from which on rows are left out."""


@dataclasses.dataclass(frozen=True, eq=False)
class WeightsPart:
    """Holds the equations from q.K^T to the weights of V.

    Attributes:
        product: q.K^T as its contraction leaves it.
        product_slots: Axis of ``product`` that holds slots.
        weights: What p.V reads as p.
        weights_slots: Axis of ``weights`` that holds slots.
        equations: In execution order, the index arithmetic they need before them.
        phase: A decode step of the sizes of the equations.
    """

    product: Var
    product_slots: int
    weights: Var
    weights_slots: int
    equations: tuple[Eqn, ...]
    phase: TracedPhase


def weights_part(region: AttentionRegion, phase: TracedPhase, index: Sequence[Eqn]) -> WeightsPart:
    """Returns the part of a region between its two products.

    Raises:
        ValidationError: It reads more than q.K^T and positions.
    """
    key, value = region.key, region.value
    product, weights = key.contraction.outvars[0], value.contraction.invars[1 - value.operand]
    if isinstance(weights, Literal):
        raise ValidationError("its weights are constant (no softmax)")
    between = needed_for([e for e in region.equations if e is not key.contraction], [weights])
    needed = needed_for(index, borders(between))
    given = {product, *index_variables(phase)}
    foreign = [v for v in borders([*needed, *between]) if v not in given]
    if foreign:
        raise ValidationError(f"its weights depend on {foreign[0].aval} other than through q.K^T")
    (contract,) = value.contraction.params["dimension_numbers"][0][1 - value.operand]
    equations = (*needed, *between)
    return WeightsPart(product, _product_slots(region), weights, int(contract), equations, phase)


def few_rows(part: WeightsPart) -> WeightsPart | None:
    """Returns a part with one row in place of many, or itself where it is small; None where sizes cannot be told apart."""
    rows = part.phase.batch_size
    if _size(part.product) <= _MANY or rows == 1:
        return part
    made = [v for e in part.equations for v in e.outvars]
    read = [part.product, *borders(part.equations)]
    literals = [a for e in part.equations for a in e.invars if is_literal(a)]
    consts = {i.var for i in part.phase.inputs if i.role == "const"}
    if any(shape_of(v).count(rows) > 1 for v in (*made, *read)):
        return None
    if any(rows in shape_of(v) for v in read if v in consts):
        return None
    if any(shape_of(a) == () and float(np.asarray(a.val)) == rows for a in literals):  # pyright: ignore
        return None
    rewrite = SizeRewrite({rows: 1})
    equations = tuple(rewrite.equation(e) for e in part.equations)
    described = [i for i in part.phase.inputs if i.role in INDEX_ROLES or i.role == "const"]
    inputs = tuple(dataclasses.replace(i, var=rewrite.var(i.var)) for i in described)
    phase = dataclasses.replace(part.phase, inputs=inputs, equations=(), outputs=(), batch_size=1)
    product, weights = rewrite.var(part.product), rewrite.var(part.weights)
    return WeightsPart(product, part.product_slots, weights, part.weights_slots, equations, phase)


class WeightsRunner:
    """Runs a part on products given by slot.

    Args:
        part: The part.

    Attributes:
        num_slots: Slots.
        num_rows: Pairs of a row and a query head, in the order in which the weights have them.
        epsilon: What the narrowest floats of the part round to, relative.
        largest: The largest product that its dtype holds.
        largest_difference: Of two logits whose weights can still be told apart in full precision.
    """

    def __init__(self, part: WeightsPart) -> None:
        self._part = part
        self.num_slots = part.phase.max_len
        self.num_rows = _size(part.weights) // self.num_slots
        later = made_of([part.product], part.equations)
        before = [e for e in part.equations if id(e) not in {id(e) for e in later}]
        made = {part.product, *(v for e in later for v in e.outvars)}
        fixed = [v for v in dict.fromkeys((*borders(later), part.weights)) if v not in made]
        self._run = runnable(later, [part.product, *fixed], [part.weights])
        self._index = runnable(before, index_variables(part.phase), fixed)
        self._known: tuple[int, list[np.ndarray]] = (-1, [])
        floats = [dtype_of(v) for e in part.equations for v in e.outvars]
        floats = [jnp.finfo(d) for d in (*floats, dtype_of(part.product)) if d.kind not in "iub"]
        self.epsilon = max(float(f.eps) for f in floats) / 2
        smallest = max(float(f.tiny) for f in floats)
        self.largest = float(jnp.finfo(dtype_of(part.product)).max)
        self.largest_difference = min(32.0, -float(np.log(smallest)) - 1)
        if shape_of(part.weights)[part.weights_slots] != self.num_slots:
            raise ValidationError(f"p.V contracts {shape_of(part.weights)[part.weights_slots]} slots")

    def round(self, products: np.ndarray) -> np.ndarray:
        """Returns products as the part's dtype holds them."""
        return products.astype(dtype_of(self._part.product)).astype(np.float64)

    def __call__(self, products: np.ndarray, position: int) -> np.ndarray:
        """Returns the weights of the token at a position in all rows, float64 ``[rows, slots]``.

        Args:
            products: q.K^T, ``[slots]`` for all rows, or ``[rows, slots]``.
            position: Tokens cached before it.

        Raises:
            ValidationError: Products were given by row, and the part has them in another order than weights.
        """
        part = self._part
        shape = shape_of(part.product)
        moved = (*(s for a, s in enumerate(shape) if a != part.product_slots), self.num_slots)
        if products.ndim == 2 and _size(part.product) != self.num_rows * self.num_slots:
            raise ValidationError("its logits and weights have different numbers of heads")
        spread = products.reshape(moved) if products.ndim == 2 else np.broadcast_to(products, moved)
        given = np.moveaxis(spread, -1, part.product_slots).astype(dtype_of(part.product))
        if self._known[0] != position:
            env = index_inputs(part.phase, np.full(part.phase.batch_size, position))
            self._known = position, self._index(list(env.values()))
        (weights,) = self._run([given, *self._known[1]])
        by_slot = np.moveaxis(weights, part.weights_slots, -1).reshape(self.num_rows, self.num_slots)
        return by_slot.astype(np.float64)


def _product_slots(region: AttentionRegion) -> int:
    """Returns the axis of q.K^T that K alone has, and that is as long as the cache."""
    key = region.key
    contract, batch = key.contraction.params["dimension_numbers"]
    sides = [shape_of(a) for a in key.contraction.invars]
    free = [
        [a for a in range(len(shape)) if a not in (*contract[n], *batch[n])] for n, shape in enumerate(sides)
    ]
    first = len(batch[0]) + (0 if key.operand == 0 else len(free[0]))
    (_,) = contract[key.operand]
    cached = shape_of(region.value.contraction.invars[region.value.operand])
    (axis,) = region.value.contraction.params["dimension_numbers"][0][region.value.operand]
    slots = [n for n, a in enumerate(free[key.operand]) if sides[key.operand][a] == cached[axis]]
    if len(slots) != 1:
        raise ValidationError("its logits do not have one axis of slots")
    return first + slots[0]


def _size(var: Var) -> int:
    return int(np.prod(shape_of(var)))
