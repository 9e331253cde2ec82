"""Decides how parameters and caches are cut over the GPUs of one host, from what the equations do with them.

A cache is cut along its KV heads. Parameters of products that make q, k and v are cut along the axis that the heads come from,
and so are those of products whose results reach another product with a parameter through work that can be done part by part: by
columns. The parameter of the product that sums over such an axis is cut along it: by rows; what each GPU makes there is added
up over all. A product that makes the logits is cut along the vocabulary, and its parts are put together. Everything else lies
on every GPU whole. XLA computes the same values whatever is decided here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from cost_models import Work, equation_flops
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention, Op, head_axis
from partitioner.ir.tensor_parallel import Collective, TensorParallel
from partitioner.jaxpr import Eqn, Var, num_bytes, shape_of
from partitioner.passes.follow_axis import Axes, AxisFollower, merge_axes

ROWS_ONLY = "single rows of it are read"
NO_CHAIN = "nothing that reads it can be done part by part"
NO_ATTENTION = "no attention was found that uses it"
NOT_BY_HEAD = "no axis of the cache has KV heads as its major part"


def split_over_gpus(graphs: Sequence[OpGraph], num_gpus: int) -> tuple[OpGraph, ...]:
    """Returns the graphs with what is cut how over several GPUs, and what their ops exchange and repeat; as they are for one.

    Args:
        graphs: Prefill, unless there is none, and decode, which decides.
        num_gpus: Equal GPUs of one host.
    """
    if num_gpus == 1:
        return tuple(graphs)
    chosen = find_splits(graphs[-1], num_gpus)
    return tuple(_with_splits(graph, chosen) for graph in graphs)


def find_splits(decode: OpGraph, num_gpus: int) -> TensorParallel:
    """Returns which parameters and caches of a decode step are cut along which axis, and why the others are not."""
    search = _Search(decode, num_gpus)
    for op in decode.ops:
        if op.attention is not None:
            search.split_heads(op.attention)
    for eqn in decode.phase.equations:
        search.split_columns(eqn)
    names = [i.name for i in decode.phase.inputs if i.role in ("param", "cache")]
    whole = {n: search.reasons.get(n) or _reason(decode, n) for n in names if n not in search.axes}
    return TensorParallel(num_gpus, search.axes, whole)


class _Search:
    """Collects decisions, those for attentions before others: what is decided stays as it is.

    Attributes:
        axes: Along which parameters and caches are cut, by name.
        reasons: Why others are not, as far as something stood in the way.
    """

    def __init__(self, decode: OpGraph, num_gpus: int) -> None:
        self._num_gpus = num_gpus
        self._follow, self._follow_whole = AxisFollower(decode, num_gpus), AxisFollower(decode, 1)
        self._shapes = {i.name: shape_of(i.var) for i in decode.phase.inputs}
        self.axes: dict[str, int] = {}
        self.reasons: dict[str, str] = {}

    def split_heads(self, attention: Attention) -> None:
        """Cuts an attention's caches along their KV heads, and the parameters around it with them."""
        names = (attention.key_cache, attention.value_cache)
        axis = head_axis(attention.cache_layout)
        if axis is None or not attention.can_share_heads(self._num_gpus):
            heads = f"{attention.num_kv_heads} KV head{'s' if attention.num_kv_heads > 1 else ''}"
            is_even = attention.num_kv_heads % self._num_gpus == 0
            reason = NOT_BY_HEAD if is_even else _uneven(heads, self._num_gpus)
            around = [n for cut in _around(attention, self._follow_whole) for n in cut]
            self.reasons.update(dict.fromkeys((*names, *around), reason))
        else:
            self.axes.update(dict.fromkeys(names, axis))
            for cut in _around(attention, self._follow):
                self._settle(cut)

    def split_columns(self, eqn: Eqn) -> None:
        """Cuts the parameter of a product by columns, and those behind it, if that leaves nothing to exchange in between."""
        found = self._follow.parameter_of(eqn)
        if found is None:
            return
        number, parameter = found
        for axis in range(len(shape_of(parameter))):
            after = self._follow.through(eqn, number, axis)
            chain = None if after is None else self._follow.ahead(eqn.outvars[0], after)
            if chain is not None and chain.ends:
                cut = self._follow.back(parameter, axis)
                merge_axes(cut, chain.cut)
                if self._settle(cut):
                    return

    def _settle(self, cut: Axes) -> bool:
        """Decides for a cut if all parameters of it agree, and can be cut evenly."""
        for name, axes in cut.items():
            axis = min(axes)
            size = self._shapes[name][axis]
            if size % self._num_gpus:
                self.reasons.update(dict.fromkeys(cut, _uneven(str(size), self._num_gpus)))
                return False
            if len(axes) > 1 or self.axes.get(name, axis) != axis:
                return False
        self.axes.update((name, min(axes)) for name, axes in cut.items())
        return True


def _around(attention: Attention, follow: AxisFollower) -> list[Axes]:
    """Returns axes of the parameters that make q, k and v, and of those that read the output, by KV heads."""
    found: list[Axes] = []
    for var, layout in (
        (attention.query, attention.query_layout),
        (attention.new_key, attention.new_layout),
        (attention.new_value, attention.new_layout),
    ):
        axis = head_axis(layout)
        if axis is not None:
            found.append(follow.back(var, axis))
    axis = head_axis(attention.output_layout)
    chain = None if axis is None else follow.ahead(attention.output, axis)
    return [*found, chain.cut] if chain is not None else found


def _uneven(what: str, num_gpus: int) -> str:
    return f"{what} cannot be shared evenly by {num_gpus} GPUs"


def _reason(decode: OpGraph, name: str) -> str:
    """Returns why an array is not cut that nothing would have it cut for."""
    read = [op for op in decode.ops if name in op.params]
    if not read:
        return NO_ATTENTION
    return ROWS_ONLY if all(name in op.gathered for op in read) else NO_CHAIN


def _with_splits(graph: OpGraph, chosen: TensorParallel) -> OpGraph:
    """Returns a graph whose ops know what GPUs exchange for them, and what every GPU does alike."""
    follow = AxisFollower(graph, chosen.num_gpus)
    sizes = {i.name: num_bytes(i.var) for i in graph.phase.inputs if i.role == "param"}
    ops = tuple(
        dataclasses.replace(
            op,
            collectives=_collectives(graph, op, chosen, follow),
            repeated=_repeated(op, chosen, follow, sizes) * (chosen.num_gpus - 1),
        )
        for op in graph.ops
    )
    return dataclasses.replace(graph, ops=ops, parallel=chosen)


def _collectives(
    graph: OpGraph, op: Op, chosen: TensorParallel, follow: AxisFollower
) -> tuple[Collective, ...]:
    """Returns what has to be exchanged for an op: sums over a cut axis, rows of a cut table, and cut logits."""
    found: list[Collective] = []
    cut_columns = False
    for eqn in op.equations:
        made = eqn.outvars[0]
        if eqn.primitive.name == "gather" and isinstance(eqn.invars[0], Var):
            rows = eqn.params["dimension_numbers"].start_index_map
            if any(_is_cut(follow.back(eqn.invars[0], int(axis)), chosen) for axis in rows):
                found.append(Collective("all_reduce", num_bytes(made)))
        product = follow.parameter_of(eqn)
        if product is not None:
            number, parameter = product
            summed = eqn.params["dimension_numbers"][0][number]
            for axis in _cut_axes(parameter, chosen, follow):
                if axis in summed:
                    found.append(Collective("all_reduce", num_bytes(made)))
                else:
                    cut_columns = True
    logits = graph.phase.outputs[0].atom
    if cut_columns and any(v is logits for v in op.outputs):
        found.append(Collective("all_gather", num_bytes(logits)))
    return tuple(found)


def _cut_axes(parameter: Var, chosen: TensorParallel, follow: AxisFollower) -> list[int]:
    """Returns the axes along which a parameter, or a view of one, is cut."""
    axes = range(len(shape_of(parameter)))
    return [axis for axis in axes if _is_cut(follow.back(parameter, axis), chosen)]


def _is_cut(axes: Axes, chosen: TensorParallel) -> bool:
    return any(chosen.axes.get(name) in found for name, found in axes.items())


def _repeated(op: Op, chosen: TensorParallel, follow: AxisFollower, sizes: dict[str, int]) -> Work:
    """Returns what of an op's work no GPU leaves to the others: reading whole parameters and multiplying with them.

    Kernels of several GPUs run side by side, so none is counted again.
    """
    attention = op.attention
    if attention is not None and chosen.is_whole(attention.key_cache):
        return dataclasses.replace(op.work, num_kernels=0.0, num_matvecs=0.0)
    read = [n for n in op.params if n in sizes and n not in op.gathered and chosen.is_whole(n)]
    products = [(eqn, follow.parameter_of(eqn)) for eqn in op.equations]
    flops = sum(
        equation_flops(e) for e, p in products if p is not None and not _cut_axes(p[1], chosen, follow)
    )
    return Work(float(flops), float(sum(sizes[n] for n in read)), 0.0)
