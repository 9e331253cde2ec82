"""Says of attentions how sparsely drives attend, and takes that back from those that no drive does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Sequence

from partitioner.errors import WorkloadError
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention
from partitioner.sparsity import SparF, Sparsity


def set_sparsity(graphs: Sequence[OpGraph], sparsity: Sparsity) -> tuple[OpGraph, ...]:
    """Returns the graphs with a sparsity in the description of every attention that has one.

    Args:
        graphs: Prefill, unless there is none, and decode.
        sparsity: Of all attentions, or of each in the order of the model.

    Raises:
        WorkloadError: It lists more or fewer layers than the model has attentions.
    """
    if sparsity is None:
        return tuple(graphs)
    by_name = sparsity_by_op(graphs[-1], sparsity)
    return tuple(_changed(graph, lambda name, attention: by_name.get(name)) for graph in graphs)


def sparsity_by_op(decode: OpGraph, sparsity: Sparsity) -> dict[str, SparF | None]:
    """Returns the sparsity that is asked for of each attention, by op.

    Raises:
        WorkloadError: It lists more or fewer layers than the model has attentions.
    """
    names = [op.name for op in decode.ops if op.attention is not None]
    layers = sparsity if isinstance(sparsity, tuple) else (sparsity,) * len(names)
    if len(layers) != len(names):
        raise WorkloadError(
            f"Workload.sparsity lists {len(layers)} layers, the model has {len(names)} attentions; "
            "give one SparF or None for each"
        )
    return dict(zip(names, layers, strict=True))


def attend_exactly(graphs: Sequence[OpGraph], names: Collection[str]) -> tuple[OpGraph, ...]:
    """Returns the graphs without the sparsity of some attentions, by op."""

    def of(name: str, attention: Attention) -> SparF | None:
        return None if name in names else attention.sparsity

    return tuple(_changed(graph, of) for graph in graphs) if names else tuple(graphs)


def _changed(graph: OpGraph, sparsity_of: Callable[[str, Attention], SparF | None]) -> OpGraph:
    ops = tuple(
        op
        if op.attention is None
        else dataclasses.replace(
            op, attention=dataclasses.replace(op.attention, sparsity=sparsity_of(op.name, op.attention))
        )
        for op in graph.ops
    )
    return dataclasses.replace(graph, ops=ops)
