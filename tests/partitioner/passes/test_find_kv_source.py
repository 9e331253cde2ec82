"""What K and V are made of is found in any spelling, and nothing is found where it is not one value."""

from typing import Any

import jax
import pytest
from jax import numpy as jnp

from partitioner.jaxpr import shape_of
from partitioner.passes.find_kv_source import find_kv_sources, foreign_input, kv_path
from partitioner.passes.split_equations import split_equations
from tests.partitioner.kv_decoders import HIDDEN, kv_decoder
from tests.partitioner.small_models import LLAMA, OPT, abstract_transformer, decode_graph

ROWS = 2


def sources_of(model: Any) -> tuple[Any, Any]:
    graph = decode_graph(model)
    attention = next(op.attention for op in graph.ops if op.attention)
    new = attention.new_key, attention.new_value
    return graph, find_kv_sources(split_equations(graph.phase), new)


@pytest.mark.parametrize("config", [OPT, LLAMA], ids=["opt", "llama"])
def test_the_nearest_value_is_the_normed_input_of_the_layer(config: Any) -> None:
    graph, sources = sources_of(abstract_transformer(config))
    makers = [graph.ops[graph.producer[v]].name for v in sources if v in graph.producer]
    assert makers[0] == "blocks.0.norm1"
    assert shape_of(sources[0]) == (ROWS, 1, 32)


def test_the_path_reads_the_weights_of_both_projections_and_positions() -> None:
    graph, sources = sources_of(abstract_transformer(LLAMA))
    attention = next(op.attention for op in graph.ops if op.attention)
    path = kv_path(graph.phase.flow, sources[0], (attention.new_key, attention.new_value))
    described = [graph.input_of[v] for v in path.inputs]
    assert {i.name for i in described if i.role == "param"} == {
        "blocks.0.attention.key.kernel",
        "blocks.0.attention.value.kernel",
    }
    assert {i.role for i in described} == {"param", "position", "const"}
    assert foreign_input(graph.phase, path, ("param", "position", "const")) is None
    assert foreign_input(graph.phase, path, ("param", "const")) == "position 'positions'"


def test_one_projection_for_q_k_and_v_is_followed_through() -> None:
    """Its result is wider than K and V, so that the search goes on to what it is made of."""

    def project(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        whole = x @ jnp.concatenate([params["query"], params["key"], params["value"]], axis=1)
        query, key, value = jnp.split(whole, 3, axis=-1)
        return query, key, value

    _, sources = sources_of(kv_decoder(project))
    widths = [shape_of(v)[-1] for v in sources]
    assert widths[0] == 3 * HIDDEN
    assert HIDDEN in widths


def test_a_narrow_value_ends_the_search() -> None:
    """K and V of a latent: it is smaller than they are, and what it is made of is not looked at."""

    def project(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        latent = x @ params["key"][:, :8]
        return x @ params["query"], latent @ params["key"][:8], latent @ params["value"][:8]

    _, sources = sources_of(kv_decoder(project))
    assert shape_of(sources[0])[-1] == 8
    assert all(shape_of(v)[-1] == 8 for v in sources)


def test_k_and_v_of_two_values_are_followed_to_what_both_come_from() -> None:
    def project(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return x @ params["query"], jnp.tanh(x) @ params["key"], jnp.sin(x) @ params["value"]

    graph, sources = sources_of(kv_decoder(project))
    assert next(graph.ops[graph.producer[v]].name for v in sources if v in graph.producer) == "embed"
