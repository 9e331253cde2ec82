"""Rewrites the way from a layer's input to K and V to few rows, tokens and heads, so that it can be run at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.op import Attention
from partitioner.jaxpr import shape_of
from partitioner.passes.find_kv_source import KvPath
from partitioner.passes.shrink_region import SizeRewrite

_FEW_HEADS = (2, 3)


def narrow_path(
    path: KvPath, phase: TracedPhase, attention: Attention, taken: Collection[int]
) -> tuple[KvPath, TracedPhase, Attention] | None:
    """Returns a path of few KV heads, so that weights are small, or None where there are few anyway.

    Sizes are replaced wherever they stand; a path that this makes a mess of does not run, or gives no K and V.

    Args:
        path: The path.
        phase: Its phase.
        attention: Whose K and V it makes.
        taken: Sizes that the heads together are not to have: rows and tokens of all phases.
    """
    heads, size = attention.num_kv_heads, attention.head_size
    few = next((n for n in _FEW_HEADS if n < heads and n * size not in taken), heads)
    if few == heads:
        return None
    small_size = few if size == heads else size
    small = _rewritten(path, phase, {heads * size: few * small_size, heads: few})
    described = dataclasses.replace(
        attention, num_heads=few * attention.group_size, num_kv_heads=few, head_size=small_size
    )
    return (*small, described)


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
    return _rewritten(path, phase, sizes)


def _rewritten(path: KvPath, phase: TracedPhase, sizes: Mapping[int, int]) -> tuple[KvPath, TracedPhase]:
    rewrite = SizeRewrite(dict(sizes))
    equations = tuple(rewrite.equation(e) for e in path.equations)
    small = KvPath(
        rewrite.var(path.source),
        (rewrite.var(path.targets[0]), rewrite.var(path.targets[1])),
        equations,
        tuple(rewrite.var(v) for v in path.inputs),
    )
    inputs = tuple(dataclasses.replace(phase.input_of[v], var=rewrite.var(v)) for v in path.inputs)
    rows, chunk, slots = (sizes.get(n, n) for n in (phase.batch_size, phase.chunk, phase.max_len))
    shrunk = dataclasses.replace(
        phase, inputs=inputs, equations=(), outputs=(), batch_size=rows, chunk=chunk, max_len=slots
    )
    return small, shrunk
