"""The axes of q, k, v, caches and output are found by probing; what cannot be told is said."""

from typing import Any

import jax
import numpy as np
import pytest
from jax import lax
from jax import numpy as jnp

from partitioner.frontend import from_step, trace_phase
from partitioner.ir.layout import from_layout, to_layout
from partitioner.jaxpr import shape_of
from partitioner.passes.find_attention import find_attention
from partitioner.passes.infer_layout import LayoutError, infer_layout
from partitioner.passes.run_region import RegionRunner
from partitioner.passes.split_equations import split_equations
from partitioner.passes.validate_attention import CACHE_ROLES, NEW_ROLES, QUERY_ROLES
from tests.partitioner.passes.near_misses import NEAR_MISSES
from tests.partitioner.passes.spellings import HEAD_SIZE, HEADS, SPELLINGS, VOCAB
from tests.partitioner.passes.traces import runner_of, show_layout


@pytest.mark.parametrize("name", SPELLINGS)
def test_layouts_have_the_shapes_of_what_they_describe(name: str) -> None:
    """Arrays with one axis per role, put into a layout, have the shape of the region's operand."""
    runner = runner_of(SPELLINGS[name])
    layout, region = infer_layout(runner), runner.region
    kv_heads = SPELLINGS[name].kv_heads
    assert (layout.num_heads, layout.num_kv_heads, layout.head_size) == (HEADS, kv_heads, HEAD_SIZE)
    query = np.zeros((3, kv_heads, HEADS // kv_heads, HEAD_SIZE))
    new = np.zeros((3, kv_heads, HEAD_SIZE))
    cache = np.zeros((3, kv_heads, 7, HEAD_SIZE))
    for var in (region.key, region.value):
        assert to_layout(new, NEW_ROLES, layout.new).size == np.prod(shape_of(var.new))
        assert to_layout(cache, CACHE_ROLES, layout.cache).shape == shape_of(var.before)
    assert to_layout(query, QUERY_ROLES, layout.query).shape == shape_of(region.query)
    sizes = dict(zip(QUERY_ROLES, query.shape, strict=True))
    output = np.zeros(shape_of(region.output))
    assert from_layout(output, layout.output, QUERY_ROLES, sizes).shape == query.shape


def test_which_axis_holds_the_slots_is_told_from_the_cache_alone() -> None:
    slots_first = infer_layout(runner_of(SPELLINGS["einsum_slots_first"]))
    heads_first = infer_layout(runner_of(SPELLINGS["matmul_heads_first"]))
    assert show_layout(slots_first.cache) == "batch token kv_head head_size"
    assert show_layout(heads_first.cache) == "batch kv_head token head_size"


def test_the_order_of_grouped_heads_is_told_from_the_query() -> None:
    assert show_layout(infer_layout(runner_of(SPELLINGS["grouped_by_reshape"])).query).startswith(
        "batch 1 kv_head group"
    )
    assert show_layout(infer_layout(runner_of(SPELLINGS["interleaved_heads"])).query).startswith(
        "batch 1 group kv_head"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("one_logit_for_all_heads", "q.K.T does not contract exactly one cache axis"),
        ("values_summed_over_heads", "p.V does not contract exactly the token axis"),
        ("transposed_keys", r"shapes \(3, 6, 8, 7\) and \(3, 6, 7, 8\); one layout for K and V is expected"),
    ],
)
def test_other_contractions_are_refused(name: str, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        infer_layout(runner_of(NEAR_MISSES[name]))


def test_sizes_that_equal_each_other_are_refused() -> None:
    with pytest.raises(
        LayoutError, match=r"cannot tell batch and token axes of a cache of shape \(7, 7, 6, 8\)"
    ):
        infer_layout(runner_of(SPELLINGS["einsum_slots_first"], 7, 7))


def runner_for(heads: int, cache_shape: Any, *, chunk: int = 1, shared: bool = False) -> RegionRunner:
    """Returns a step whose caches [rows, slots, ...] hold the heads in axes of any kind.

    Args:
        heads: Heads that attend.
        cache_shape: Axes of the cache behind rows and slots.
        chunk: Tokens per step.
        shared: Whether all rows ask with the first row's query.
    """

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
        x = params["embed"][tokens]
        append = jax.vmap(
            lambda row, new, at: lax.dynamic_update_slice(row, new, (at, *[0] * (new.ndim - 1)))
        )
        keys, values = (
            append(cache[n], (x * scale).reshape(*tokens.shape, *cache_shape), positions[:, 0])
            for n, scale in (("k", 2.0), ("v", 3.0))
        )
        split = (*keys.shape[:2], heads, -1)
        query = (x * 4.0).reshape(*tokens.shape, heads, -1)
        which = "thd" if shared else "bthd"
        query = query[0] if shared else query
        logits = jnp.einsum(f"{which},bshd->bhts", query, keys.reshape(split))
        seen = (jnp.arange(keys.shape[1]) <= positions[:, :, None])[:, None]
        weights = jax.nn.softmax(jnp.where(seen, logits, -1e30))
        return jnp.einsum("bhts,bshd->bthd", weights, values.reshape(split)).reshape(*tokens.shape, -1), {
            "k": keys,
            "v": values,
        }

    params = {"embed": jax.ShapeDtypeStruct((VOCAB, 24), jnp.float32)}
    function = from_step(
        step,
        params=params,
        init_cache=lambda rows, slots: {n: jnp.zeros((rows, slots, *cache_shape)) for n in "kv"},
    )
    phase = trace_phase(function, "decode", batch_size=3, chunk=chunk, max_len=7)
    split = split_equations(phase)
    return RegionRunner(find_attention(phase, split)[0][0], phase, split.index)


def test_a_cache_with_heads_and_head_size_in_one_axis_is_refused() -> None:
    with pytest.raises(
        LayoutError, match="the cache has 3 axes; one each for batch, KV head, token, head size"
    ):
        infer_layout(runner_for(4, (24,)))


def test_a_cache_whose_head_size_has_two_axes_is_refused() -> None:
    with pytest.raises(LayoutError, match="the cache has 5 axes"):
        infer_layout(runner_for(4, (4, 3, 2)))


def test_a_step_of_several_tokens_is_refused() -> None:
    with pytest.raises(LayoutError, match="axis 1 of the new keys is not one axis of the cache"):
        infer_layout(runner_for(2, (2, 12), chunk=5))


def test_a_query_that_all_rows_share_is_refused() -> None:
    with pytest.raises(LayoutError, match=r"q has shape \(1, 2, 12\), which does not hold one token per row"):
        infer_layout(runner_for(2, (2, 12), shared=True))


def test_one_head_is_a_head() -> None:
    layout = infer_layout(runner_for(1, (1, 24)))
    assert (layout.num_heads, layout.num_kv_heads, layout.head_size) == (1, 1, 24)
    assert show_layout(layout.cache) == "batch token kv_head head_size"
