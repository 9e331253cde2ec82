"""Changes attentions to ones whose cache keeps the input of their layer: K and V are made again of it before they attend.

In a decode step the op gets the equations that make both caches out of the stored inputs in front of its own, and reads the
parameters of its K and V projections besides. What it appends to the caches is forgotten with them; the new input is appended
to the stored ones instead. A prefill hands on the input in place of the caches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from cost_models import Work, work_of
from partitioner.frontend.trace import TracedInput
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention, Op, StoredInput
from partitioner.jaxpr import Eqn, Var, borders, dtype_of, fresh_variables, shape_of
from partitioner.passes.kv_sources import KvSource
from partitioner.passes.split_equations import VIEWS


def keep_inputs(graphs: Sequence[OpGraph], sources: Mapping[str, KvSource]) -> tuple[OpGraph, ...]:
    """Returns the graphs of all phases with some attentions changed.

    Args:
        graphs: Prefill, unless there is none, and decode.
        sources: What the caches of these attentions keep, by op.
    """
    if not sources:
        return tuple(graphs)
    decode = _decode_graph(graphs[-1], sources)
    return (*(_prefill_graph(g, sources) for g in graphs[:-1]), decode)


def decode_op(graph: OpGraph, source: KvSource) -> tuple[Op, Var]:
    """Returns the attention op of a decode step whose cache keeps the input of its layer, and that cache."""
    op = next(op for op in graph.ops if op.name == source.op)
    return _decode_op(graph, op, source, {})


def kept_heads(attention: Attention, width: int) -> tuple[int, int]:
    """Returns as how many KV heads of which size a row of some width counts: heads of the attention's size where that fits."""
    heads, rest = divmod(width, 2 * attention.head_size)
    return (1, width // 2) if rest else (heads, attention.head_size)


def input_name(op: str) -> str:
    """Returns the name of the state that keeps the inputs of an attention's layer."""
    return f"{op}.input"


def _decode_graph(graph: OpGraph, sources: Mapping[str, KvSource]) -> OpGraph:
    ops: list[Op] = []
    gone: set[str] = set()
    made: list[Eqn] = []
    added: list[TracedInput] = []
    works: dict[Any, tuple[Work, ...]] = {}
    for op in graph.ops:
        source = sources.get(op.name)
        if source is None or op.attention is None:
            ops.append(op)
            continue
        gone |= {op.attention.key_cache, op.attention.value_cache}
        changed, rows = _decode_op(graph, op, source, works)
        made += changed.equations[: -len(op.equations)]
        added.append(TracedInput(input_name(op.name), "cache", rows))
        ops.append(changed)
    phase = dataclasses.replace(
        graph.phase,
        equations=(*made, *graph.phase.equations),
        inputs=(*(i for i in graph.phase.inputs if i.name not in gone or i.role != "cache"), *added),
        outputs=tuple(o for o in graph.phase.outputs if o.name not in gone or o.role != "cache"),
    )
    return dataclasses.replace(graph, phase=phase, ops=tuple(ops))


def _decode_op(
    graph: OpGraph, op: Op, source: KvSource, works: dict[Any, tuple[Work, ...]]
) -> tuple[Op, Var]:
    """Returns the changed op, and the variable of the inputs it keeps; ``works`` remembers what forms demand for K and V."""
    attention = op.attention
    assert attention is not None
    caches = {graph.input_of[v].name: v for v in op.inputs if v in graph.input_of}
    before = caches[attention.key_cache], caches[attention.value_cache]
    rows: Any = source.recompute.rows.aval
    state = fresh_variables()(rows)
    recompute = source.recompute.renamed(source.given, state, before)
    equations = (*recompute.equations, *op.equations)
    inputs = tuple(borders(equations))
    outputs = tuple(v for v in op.outputs if not _is_cache(graph, v))
    read = [graph.input_of[v] for v in inputs if v in graph.input_of]
    form = op.form, source.form
    if form not in works:
        works[form] = _stages(recompute.equations, before)
    changed = dataclasses.replace(
        op,
        equations=equations,
        inputs=inputs,
        outputs=outputs,
        params=tuple(i.name for i in read if i.role in ("param", "const", "rng")),
        states=(
            input_name(op.name),
            *(s for s in op.states if s not in (attention.key_cache, attention.value_cache)),
        ),
        remakes=works[form],
        form=-1 - op.form,
        attention=_kept(op.name, attention, source.value, source.axes.batch[0], None, state),
    )
    return changed, state


def _stages(equations: Sequence[Eqn], caches: Sequence[Var]) -> tuple[Work, Work]:
    """Returns what matrix products of stored inputs demand, and what passes over their results demand that make the caches.

    Compute limits the products of many tokens, and memory the passes behind them, so one roofline over both would let the
    passes hide behind the products. Conversions and views of a product are part of it.
    """
    products: set[int] = set()
    needed: set[Var] = set()
    for eqn in reversed(equations):
        if eqn.primitive.name == "dot_general" or not needed.isdisjoint(eqn.outvars):
            products.add(id(eqn))
            needed.update(borders([eqn]))
    made: set[Var] = set()
    for eqn in equations:
        if eqn.primitive.name in VIEWS and not made.isdisjoint(borders([eqn])):
            products.add(id(eqn))
        if id(eqn) in products:
            made.update(eqn.outvars)
    first = [eqn for eqn in equations if id(eqn) in products]
    passes = [eqn for eqn in equations if id(eqn) not in products]
    handed_on = [v for v in (*borders(passes), *caches) if v in made]
    return (
        work_of(first, borders(first), handed_on),
        work_of(passes, borders(passes), [v for v in caches if v not in made]),
    )


def _prefill_graph(graph: OpGraph, sources: Mapping[str, KvSource]) -> OpGraph:
    ops: list[Op] = []
    gone: set[str] = set()
    for op in graph.ops:
        source = sources.get(op.name)
        if source is None or op.attention is None or source.prefill_value is None:
            ops.append(op)
            continue
        gone |= {op.attention.key_cache, op.attention.value_cache}
        axes, rows = source.axes, source.recompute.rows
        kept = _kept(op.name, op.attention, source.prefill_value, axes.batch[1], axes.token, rows)
        outputs = tuple(v for v in op.outputs if not _is_cache(graph, v))
        states = (input_name(op.name), *op.states)
        ops.append(dataclasses.replace(op, outputs=outputs, states=states, attention=kept))
    phase = dataclasses.replace(
        graph.phase,
        outputs=tuple(o for o in graph.phase.outputs if o.name not in gone or o.role != "cache"),
    )
    return dataclasses.replace(graph, phase=phase, ops=tuple(ops))


def _kept(
    op: str, attention: Attention, value: Var, batch_axis: int, token_axis: int | None, rows: Var
) -> Attention:
    """Returns the attention with a cache of inputs: what tells of its cache tells of them."""
    heads, size = kept_heads(attention, shape_of(rows)[2])
    return dataclasses.replace(
        attention,
        key_cache=input_name(op),
        value_cache=input_name(op),
        num_heads=heads * attention.group_size,
        num_kv_heads=heads,
        head_size=size,
        cache_dtype=dtype_of(rows).name,
        cache_layout=(("batch",), ("token",), ("kv_head", "head_size")),
        source=StoredInput(attention, value, batch_axis, token_axis),
    )


def _is_cache(graph: OpGraph, var: Var) -> bool:
    described = graph.output_of.get(var)
    return described is not None and described.role == "cache"
