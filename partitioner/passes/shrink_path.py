"""Rewrites the way from a layer's input to K and V to few rows and tokens, so that it can be run without tracing again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from partitioner.frontend.trace import TracedPhase
from partitioner.jaxpr import shape_of
from partitioner.passes.find_kv_source import KvPath
from partitioner.passes.shrink_region import SizeRewrite


def shrink_path(
    path: KvPath, phase: TracedPhase, sizes: Mapping[int, int]
) -> tuple[KvPath, TracedPhase] | None:
    """Returns a path of small sizes with its inputs as a phase, or None where sizes cannot be told apart.

    Args:
        path: The path at the workload's sizes.
        phase: Its phase.
        sizes: Small sizes by the workload's: of the rows, and of the tokens where a row has several.
    """
    fixed = [v for v in path.inputs if phase.input_of[v].role in ("param", "const")]
    made = [v for e in path.equations for v in e.outvars]
    shapes = [shape_of(v) for v in (path.source, *path.inputs, *made)]
    if 1 in sizes or any(n in shape_of(v) for v in fixed for n in (*sizes, *sizes.values())):
        return None
    if any(shape.count(n) > 1 for shape in shapes for n in sizes) or any(
        n in shape for shape in shapes for n in sizes.values()
    ):
        return None
    rewrite = SizeRewrite(dict(sizes))
    equations = tuple(rewrite.equation(e) for e in path.equations)
    small = KvPath(
        rewrite.var(path.source),
        (rewrite.var(path.targets[0]), rewrite.var(path.targets[1])),
        equations,
        tuple(rewrite.var(v) for v in path.inputs),
    )
    inputs = tuple(dataclasses.replace(phase.input_of[v], var=rewrite.var(v)) for v in path.inputs)
    length = sizes.get(phase.max_len, phase.max_len)
    shrunk = dataclasses.replace(
        phase,
        inputs=inputs,
        equations=(),
        outputs=(),
        batch_size=sizes.get(phase.batch_size, phase.batch_size),
        chunk=sizes.get(phase.chunk, phase.chunk),
        max_len=length,
    )
    return small, shrunk
