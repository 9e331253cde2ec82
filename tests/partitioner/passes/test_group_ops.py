"""Equations are grouped to named ops, in an order that can run."""

import itertools
from typing import Any

import jax
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import numpy as jnp

from models import TransformerConfig
from partitioner.flatten import make_flat
from partitioner.frontend import from_step, trace_phase
from partitioner.ir.graph import OpGraph
from partitioner.ir.verify import verify_graph
from partitioner.jaxpr import Eqn, Var, evaluate, reads_of, variables
from partitioner.passes.group_ops import cluster, group_ops
from partitioner.passes.raise_attention import raise_decode_attention
from partitioner.passes.split_equations import split_equations
from partitioner.value_numbers import ValueNumbers
from tests.partitioner.passes.golden import assert_golden
from tests.partitioner.passes.spellings import SPELLINGS, layered, visible
from tests.partitioner.passes.traces import decode_of, prefill_of, raised_of, raised_prefill_of
from tests.partitioner.small_models import (
    LLAMA,
    OPT,
    abstract_transformer,
    decode_graph,
    plain_cache,
    plain_function,
    plain_params,
    plain_step,
    traced,
)


@st.composite
def labelled_dataflow(draw: st.DrawFn) -> tuple[list[Eqn], list[str], ValueNumbers]:
    """Draws equations that each read one or two earlier values, a label for each, and the numbers of their values."""
    count = draw(st.integers(1, 9))
    reads = [draw(st.tuples(st.integers(0, n), st.integers(0, n))) for n in range(count)]
    labels = [draw(st.sampled_from("abc")) for _ in range(count)]

    def function(x: Any) -> list[Any]:
        values = [x]
        for first, second in reads:
            values.append(values[first] - values[second])
        return values[1:]

    inputs, equations, *_ = make_flat(function, jax.ShapeDtypeStruct((2,), jnp.float32))
    return equations, labels, ValueNumbers.numbered(inputs, equations, reads_of(equations))


def clustered(
    equations: list[Eqn], names: list[str], numbers: ValueNumbers
) -> tuple[list[list[Eqn]], set[int]]:
    groups, handed = cluster(range(len(equations)), names, numbers)
    return [[equations[n] for n in group] for group in groups], handed


@settings(max_examples=60)
@given(labelled_dataflow())
def test_groups_have_one_label_and_an_order_that_can_run(
    case: tuple[list[Eqn], list[str], ValueNumbers],
) -> None:
    equations, names, numbers = case
    labels = {id(e): name for e, name in zip(equations, names, strict=True)}
    groups, handed = clustered(equations, names, numbers)
    assert sorted(id(e) for g in groups for e in g) == sorted(id(e) for e in equations)
    assert all(len({labels[id(e)] for e in g}) == 1 for g in groups)
    position = {id(e): i for i, e in enumerate(equations)}
    assert all(position[id(a)] < position[id(b)] for g in groups for a, b in itertools.pairwise(g))
    made: set[Var] = {v for e in equations for v in e.outvars}
    done: set[Var] = set()
    for group in groups:
        done.update(v for e in group for v in e.outvars)
        assert all(v in done for e in group for v in variables(e.invars) if v in made)
    home = {v: n for n, group in enumerate(groups) for e in group for v in e.outvars}
    read = {(v, n) for n, group in enumerate(groups) for e in group for v in variables(e.invars) if v in made}
    assert handed == {numbers.of[v] for v, reader in read if home[v] != reader}


@settings(max_examples=60)
@given(labelled_dataflow())
def test_a_label_has_one_group_if_that_closes_no_cycle(
    case: tuple[list[Eqn], list[str], ValueNumbers],
) -> None:
    equations, names, numbers = case
    labels = {id(e): name for e, name in zip(equations, names, strict=True)}
    maker = {v: labels[id(e)] for e in equations for v in e.outvars}
    between = nx.DiGraph()
    between.add_edges_from(
        (maker[v], labels[id(e)])
        for e in equations
        for v in variables(e.invars)
        if v in maker and maker[v] != labels[id(e)]
    )
    groups, _ = clustered(equations, names, numbers)
    if nx.is_directed_acyclic_graph(between):
        assert len(groups) == len(set(names))
    else:
        assert len(groups) > len(set(names))


def graph_of(name: str) -> OpGraph:
    return group_ops(*decode_of(SPELLINGS[name]), *raised_of(SPELLINGS[name]))


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_graph_of_every_spelling_is_valid_and_has_its_attention(name: str) -> None:
    graph = graph_of(name)
    verify_graph(graph, "group_ops")
    assert [op.name for op in graph.ops] == ["embed", "query", "key", "value", "attention", "o", "head"]
    assert [op.kind for op in graph.ops] == ["compute"] * 4 + ["attention"] + ["compute"] * 2
    assert {"k", "v"} <= set(graph.ops[4].states)


@pytest.mark.parametrize("name", [n for n, s in SPELLINGS.items() if not s.one_token])
def test_both_phases_of_every_spelling_have_the_same_ops(name: str) -> None:
    """They are paired by name, since they share weights and caches."""
    prefill = group_ops(*prefill_of(SPELLINGS[name]), *raised_prefill_of(SPELLINGS[name]))
    verify_graph(prefill, "group_ops")
    assert {op.name: op.params for op in prefill.ops} == {op.name: op.params for op in graph_of(name).ops}


@pytest.mark.parametrize(("config", "name"), [(OPT, "opt"), (LLAMA, "llama")])
def test_the_ops_of_a_decoder(config: TransformerConfig, name: str) -> None:
    graphs = traced(abstract_transformer(config)).graphs
    assert_golden(f"ops-{name}", "\n".join(str(g) for g in graphs))


def test_running_the_ops_one_after_another_is_running_the_model() -> None:
    """Every op gets its listed inputs alone, and only its listed outputs go on."""
    function = plain_function()
    graph = decode_graph(function)
    generator = np.random.default_rng(0)
    given: dict[str, Any] = {n: p for n, p in plain_params().items()}
    given |= {
        n: jnp.asarray(generator.standard_normal((2, 10, 4, 6)), jnp.float32) for n in ("keys", "values")
    }
    given |= {
        "tokens": jnp.array([[3], [7]]),
        "positions": jnp.array([[2], [5]]),
        "mask": jnp.arange(10) <= jnp.array([[2], [5]]),
        "logits_at": jnp.zeros((2,), jnp.int32),
    }

    @jax.jit
    def run(given: dict[str, Any]) -> dict[str, Any]:
        values = {i.var: given[i.name] for i in graph.phase.inputs}
        for op in graph.ops:
            local = evaluate(op.equations, {v: values[v] for v in op.inputs})
            values.update((v, local[v]) for v in op.outputs)
        return {o.name: values[o.atom] for o in graph.phase.outputs if isinstance(o.atom, Var)}

    results = run(given)
    cache = {n: given[n] for n in ("keys", "values")}
    want, after = jax.jit(function.step)(
        plain_params(), given["tokens"], cache, given["positions"], given["mask"], given["logits_at"]
    )
    np.testing.assert_allclose(results["logits"], want, rtol=1e-5)
    np.testing.assert_allclose(results["keys"], after["keys"], rtol=1e-5)


def test_a_tied_embedding_is_read_by_two_ops_and_gathered_by_the_first_alone() -> None:
    graph = decode_graph(abstract_transformer(OPT))
    readers = {op.name: op.gathered for op in graph.ops if "embed.token.embedding" in op.params}
    assert readers == {"embed.token": ("embed.token.embedding",), "logits": ()}


def test_parameters_are_those_of_the_op_and_caches_those_of_the_attention() -> None:
    ops = {op.name: op for op in decode_graph(abstract_transformer(LLAMA)).ops}
    assert ops["blocks.0.mlp.up"].params == ("blocks.0.mlp.up.kernel",)
    assert ops["blocks.0.attention"].params == ()
    assert {n: op.states for n, op in ops.items() if op.states} == {
        "blocks.0.attention": ("0.key", "0.value")
    }
    # rotary frequencies are a constant that the model closes over
    assert set(ops["blocks.0.attention.query"].params) == {"blocks.0.attention.query.kernel", "const.0"}


def ops_of(forward: Any, shapes: dict[str, Any]) -> list[str]:
    """Returns the op names of ``forward(params, x)`` with x float[2, 1, 4]."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
        return forward(params, params["embed"]["table"][tokens]), cache

    square = jax.ShapeDtypeStruct((4, 4), jnp.float32)
    params = jax.tree.map(lambda _: square, {"embed": {"table": 0}} | shapes)
    function = from_step(step, params=params, init_cache=lambda rows, slots: jnp.zeros((rows, slots)))
    phase = trace_phase(function, "decode", batch_size=2, chunk=1, max_len=5)
    graph = group_ops(phase, split_equations(phase), ())
    verify_graph(graph, "group_ops")
    return [op.name for op in graph.ops]


def test_a_module_used_twice_is_two_ops() -> None:
    def forward(p: Any, x: Any) -> Any:
        return jnp.tanh(jnp.tanh(x @ p["a"]["w"]) @ p["b"]["w"]) @ p["a"]["w"] @ p["b"]["w"]

    assert ops_of(forward, {"a": {"w": 0}, "b": {"w": 0}}) == ["embed", "a", "b", "a#2", "logits"]


def test_a_module_used_thrice_is_numbered() -> None:
    def forward(p: Any, x: Any) -> Any:
        for _ in range(3):
            x = jnp.tanh(x @ p["a"]["w"]) @ p["b"]["w"]
        return x @ p["head"]["w"]

    assert ops_of(forward, {n: {"w": 0} for n in ("a", "b", "head")}) == [
        "embed",
        "a",
        "b",
        "a#2",
        "b#2",
        "a#3",
        "b#3",
        "head",
    ]


def test_attentions_without_modules_of_their_own_are_numbered() -> None:
    phase = trace_phase(layered([visible] * 3), "decode", batch_size=2, chunk=1, max_len=16)
    split = split_equations(phase)
    graph = group_ops(phase, split, *raise_decode_attention(phase, split, lambda b, n: phase))
    verify_graph(graph, "group_ops")
    assert [op.name for op in graph.ops if op.attention] == ["attention", "attention#2", "attention#3"]


ROLES = ("query", "key", "value", "out")


@pytest.mark.parametrize(
    ("modules", "name"),
    [
        (("query", "key", "value", "out"), "attention"),
        (("layer.attn.q", "layer.attn.k", "layer.attn.v", "layer.attn.o"), "layer.attn"),
        (("layer.q", "layer.k", "layer.v", "layer.o"), "layer.attention"),
        (("attn.qkv", "attn.qkv", "attn.qkv", "attn.out"), "attn"),
        (("layer.attn", "layer.attn", "layer.attn", "layer.attn"), "layer.attention"),
        (("layer.attention",) * 4, "layer.attention.attention"),
    ],
)
def test_an_attention_is_named_for_what_the_modules_of_its_operands_have_in_common(
    modules: tuple[str, ...], name: str
) -> None:
    """Every module has a parameter ``w`` for each of its uses."""
    names = {role: f"{module}.w{n}" for n, (role, module) in enumerate(zip(ROLES, modules, strict=True))}

    def step(params: Any, *inputs: Any) -> Any:
        return plain_step(params | {role: params[name] for role, name in names.items()}, *inputs)

    params = {names.get(role, role): value for role, value in plain_params().items()}
    ops = decode_graph(from_step(step, params=params, init_cache=plain_cache)).ops
    assert [op.name for op in ops if op.attention] == [name]
    assert {op.name.partition("#")[0] for op in ops if not op.attention} == {"embed", "head", *modules}


def test_an_op_repeats_the_index_arithmetic_it_needs_and_no_more() -> None:
    graph = decode_graph(abstract_transformer(LLAMA))
    index = {id(e) for e in graph.index_equations}
    repeats = {op.name: len([e for e in op.equations if id(e) in index]) for op in graph.ops}
    assert repeats["blocks.0.mlp.up"] == repeats["blocks.0.norm1"] == 0
    assert repeats["blocks.0.attention"] > 0
    # rotary angles, for queries and for keys
    assert repeats["blocks.0.attention.query"] == repeats["blocks.0.attention.key"] > 0


def test_the_dtype_is_that_of_the_contraction() -> None:
    for dtype in ("bfloat16", "float32"):
        config = LLAMA.replace(param_dtype=dtype, compute_dtype=dtype)
        ops = {op.name: op for op in decode_graph(abstract_transformer(config)).ops}
        assert ops["blocks.0.mlp.down"].dtype == dtype


def test_reasons_are_kept() -> None:
    phase, split = decode_of(SPELLINGS["einsum_slots_first"])
    _, unraised = raised_of(SPELLINGS["einsum_slots_first"])
    graph = group_ops(phase, split, (), unraised)
    assert graph.unraised == unraised
    verify_graph(graph, "group_ops")
    assert not any(op.attention for op in graph.ops)
