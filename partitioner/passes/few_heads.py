"""Leaves out all heads but one of what lies between the two products of an attention, where all of them are treated alike."""

from __future__ import annotations

import dataclasses

from partitioner.frontend.traced import INDEX_ROLES
from partitioner.jaxpr import shape_of
from partitioner.passes.alike_places import places_are_alike, reshapes_fit
from partitioner.passes.run_weights import WeightsPart
from partitioner.passes.shrink_region import SizeRewrite


def few_heads(part: WeightsPart) -> WeightsPart:
    """Returns a part whose product has one head in place of several, as far as equations make nothing of which head it is."""
    sizes = {n for axis, n in enumerate(shape_of(part.product)) if axis != part.product_slots and n > 1}
    kept = (part.phase.max_len, part.phase.batch_size)
    if part.weights is not part.product:
        sizes = {n for n in sizes if n not in kept and places_are_alike(part.equations, {part.product}, n)}
    alike = dict.fromkeys(sorted(sizes), 1)
    if not alike or part.weights is part.product or not reshapes_fit(part.equations, alike):
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
