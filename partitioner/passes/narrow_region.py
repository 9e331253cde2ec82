"""Rewrites a small region to few KV heads where all of them are treated alike, so that it runs in a fraction of the time."""

from __future__ import annotations

import dataclasses

from partitioner.jaxpr import shape_of, variables
from partitioner.passes.alike_places import places_are_alike, reshapes_fit
from partitioner.passes.infer_layout import RegionLayout
from partitioner.passes.shrink_region import SmallRegion, rewritten_region

_FEW = (2, 3, 5)


def narrow_region(small: SmallRegion) -> SmallRegion | None:
    """Returns a region with few KV heads, or None where it has few anyway, or may treat one unlike another.

    Of the axes of a cache, the one of the KV heads is the only one along which every place can be treated alike: rows and slots
    have positions, and products sum over the rest.
    """
    region, phase = small.region, small.phase
    cache = shape_of(region.key.before)
    equations = [*small.index, *region.equations]
    shapes = [shape_of(v) for e in equations for v in (*variables(e.invars), *e.outvars)]
    given = {region.query, region.key.new, region.value.new, region.key.before, region.value.before}
    for heads in (n for n in cache if n not in (phase.batch_size, phase.max_len)):
        few = next((n for n in _FEW if n < heads and not any(n in shape for shape in shapes)), None)
        if few is None or any(shape.count(heads) > 1 for shape in shapes):
            continue
        sizes = {heads: few}
        if places_are_alike(equations, given, heads) and reshapes_fit(equations, sizes):
            narrow = rewritten_region(region, phase, small.index, sizes)
            return dataclasses.replace(narrow, kv_heads=heads)
    return None


def widened(layout: RegionLayout, kv_heads: int) -> RegionLayout:
    """Returns the layout of a region with all its KV heads, given that of a narrow one."""
    group = layout.num_heads // layout.num_kv_heads
    return dataclasses.replace(layout, num_heads=kv_heads * group, num_kv_heads=kv_heads)
