"""What a cache may keep in place of K and V is proved by running it, and near misses are refused with the reason."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from partitioner.ir.verify import verify_graph
from partitioner.jaxpr import evaluate, shape_of
from partitioner.passes.keep_inputs import input_name, keep_inputs
from partitioner.passes.kv_sources import KvSource
from tests.partitioner.kv_decoders import kv_decoder, plain_project
from tests.partitioner.small_models import HIDDEN, LLAMA, OPT, MhaDecoder, abstract_transformer, traced

WIDE = {"param_dtype": "float16", "compute_dtype": "float16"}
MODELS: dict[str, Callable[[], Any]] = {
    "opt": lambda: abstract_transformer(OPT.replace(**WIDE)),
    "rotary": lambda: abstract_transformer(LLAMA.replace(num_kv_heads=4, **WIDE)),
    "rotary with head norms": lambda: abstract_transformer(
        LLAMA.replace(num_kv_heads=4, qk_norm=True, **WIDE)
    ),
    "flax": MhaDecoder,
    "plain": lambda: kv_decoder(plain_project),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_every_layer_of_multi_head_attention_is_proved(name: str, batch_size: int) -> None:
    sources = traced(MODELS[name](), batch_size=batch_size).kv_sources
    assert not sources.missing
    for op in sources.candidates:
        source = sources.proved(op)
        assert isinstance(source, KvSource), source
        assert shape_of(source.recompute.rows) == (
            batch_size,
            10,
            HIDDEN if name in ("flax", "plain") else 32,
        )


def test_layers_of_one_form_are_proved_once() -> None:
    sources = traced(abstract_transformer(OPT.replace(num_layers=3, **WIDE))).kv_sources
    first, *others = (sources.proved(op) for op in sources.candidates)
    assert isinstance(first, KvSource)
    assert all(isinstance(o, KvSource) and o.recompute is first.recompute for o in others)
    assert len({o.value for o in others if isinstance(o, KvSource)}) == 2


@pytest.mark.parametrize("num_kv_heads", [1, 2])
def test_grouped_queries_leave_nothing_to_gain(num_kv_heads: int) -> None:
    """Two KV heads of four are as wide as the input: there is nothing to gain, and with one there is something to lose."""
    sources = traced(abstract_transformer(LLAMA.replace(num_kv_heads=num_kv_heads, **WIDE))).kv_sources
    assert not sources.candidates
    whole = 2 * num_kv_heads * 8 * 2
    assert set(sources.missing.values()) == {f"it takes 64 bytes a token, and K and V take {whole}"}


def test_a_wider_dtype_than_that_of_the_cache_counts() -> None:
    """An input in float32 takes as much as K and V in float16."""
    sources = traced(abstract_transformer(OPT)).kv_sources
    assert set(sources.missing.values()) == {"it takes 128 bytes a token, and K and V take 128"}


def _other_prefill(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    query, key, value = plain_project(params, x)
    return query, key, value * 1.5


def _earlier_tokens(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """K of a token holds a part of the token before, as that of a convolution over tokens does."""
    query, key, value = plain_project(params, x)
    before = jnp.pad(key, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    return query, key + before, value


def _other_rows(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    query, key, value = plain_project(params, x)
    return query, key + jnp.roll(key, 1, axis=0), value


def _no_number_at_zero(params: Any, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    length = jnp.sqrt(jnp.sum(x * x, axis=-1, keepdims=True))
    return x @ params["query"], (x / length) @ params["key"], x @ params["value"]


NEAR_MISSES = {
    "a prefill of its own": (
        kv_decoder(plain_project, prefill_project=_other_prefill),
        "V made again of the layer's input differs from that of a prefill by",
    ),
    "tokens mixed": (
        kv_decoder(plain_project, prefill_project=_earlier_tokens),
        "K made again of the layer's input differs from that of a prefill by",
    ),
    "no number at zero": (
        kv_decoder(_no_number_at_zero),
        "an empty slot gives K or V that are no numbers",
    ),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_a_near_miss_is_refused_with_the_reason(name: str) -> None:
    model, reason = NEAR_MISSES[name]
    sources = traced(model, batch_size=3).kv_sources
    for op in sources.candidates:
        found = sources.proved(op)
        assert isinstance(found, str)
        assert reason in found


def test_rows_that_are_mixed_are_refused() -> None:
    """In a decode step rows are at positions of their own, so that a neighbour's input is not that of the same slot."""
    sources = traced(kv_decoder(_other_rows), batch_size=3).kv_sources
    found = [sources.proved(op) for op in sources.candidates]
    assert found
    assert all(isinstance(f, str) and "K made again" in f for f in found)


def test_the_changed_graphs_are_valid_and_name_what_is_kept() -> None:
    found = traced(abstract_transformer(OPT.replace(num_layers=2, **WIDE)))
    op = "blocks.1.attention"
    source = found.kv_sources.proved(op)
    assert isinstance(source, KvSource)
    prefill, decode = keep_inputs(found.graphs, {op: source})
    for graph in (prefill, decode):
        verify_graph(graph, "keep_inputs")
    changed = {o.name: o for o in decode.ops}
    before = {o.name: o for o in found.graphs[-1].ops}
    assert changed["blocks.0.attention"] is before["blocks.0.attention"]
    assert changed[op].states == (input_name(op),)
    attention = changed[op].attention
    assert attention is not None
    assert attention.source is not None
    assert (attention.num_kv_heads, attention.head_size) == (2, 8)
    assert {o.name for o in decode.phase.outputs if o.role == "cache"} == {"0.key", "0.value"}
    assert {o.name for o in prefill.phase.outputs if o.role == "cache"} == {"0.key", "0.value"}
    assert keep_inputs(found.graphs, {}) == found.graphs


def test_what_is_made_again_is_what_single_steps_make() -> None:
    """K and V of every slot are those that the projections make of that slot's input alone."""
    found = traced(kv_decoder(plain_project), batch_size=3)
    (op,) = found.kv_sources.candidates
    source = found.kv_sources.proved(op)
    assert isinstance(source, KvSource)
    again = source.recompute
    generator = np.random.default_rng(5)
    rows, *weights = (generator.standard_normal(shape_of(v), np.float32) for v in (again.rows, *again.given))
    env = evaluate(again.equations, {again.rows: rows, **dict(zip(again.given, weights, strict=True))})
    for cache, weight in zip(again.caches, weights, strict=True):
        expected = np.einsum("bsh,ho->bso", rows, weight).reshape(shape_of(cache))
        np.testing.assert_allclose(np.asarray(env[cache]), expected, rtol=1e-5, atol=1e-5)
