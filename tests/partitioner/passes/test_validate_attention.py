"""A region passes for attention only if it computes what reference attention computes."""

import dataclasses

import jax
import pytest
from jax import numpy as jnp

from partitioner.passes.infer_layout import infer_layout
from partitioner.passes.validate_attention import ValidationError, validate_attention
from tests.partitioner.passes.near_misses import NEAR_MISSES
from tests.partitioner.passes.spellings import (
    KV_HEADS,
    SPELLINGS,
    Attend,
    Spelling,
    append_rows,
    einsum_slots_first,
    library_function,
    plain_attend,
    updated,
    visible,
)
from tests.partitioner.passes.traces import runner_of


def scale_of(spelling: Spelling) -> float:
    runner = runner_of(spelling)
    return validate_attention(runner, infer_layout(runner))


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_passes_with_its_scale(name: str) -> None:
    assert scale_of(SPELLINGS[name]) == pytest.approx(SPELLINGS[name].scale, rel=1e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(
    "spelling", [Spelling(einsum_slots_first), Spelling(library_function, kv_heads=KV_HEADS, scale=0.2)]
)
def test_it_passes_in_any_dtype(spelling: Spelling, dtype: str) -> None:
    assert scale_of(dataclasses.replace(spelling, dtype=dtype)) == pytest.approx(spelling.scale, rel=1e-7)


def attend(query, key, value, cache, positions, weights_of):
    """Attends with weights made by ``weights_of(q.k, mask)``."""
    cache = updated(key, value, cache, positions)
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"])
    weights = weights_of(logits, visible(cache["k"].shape[1], positions))
    return jnp.einsum("bhts,bshd->bthd", weights, cache["v"]), cache


def three_factors(query, key, value, cache, positions, mask, params):
    return attend(
        query,
        key,
        value,
        cache,
        positions,
        lambda x, seen: jax.nn.softmax(jnp.where(seen, x * 0.7 * 0.6 * 0.5, -1e30)),
    )


def small_scale_in_float16(query, key, value, cache, positions, mask, params):
    """Products of large queries and keys would leave the range of float16."""
    return attend(
        query.astype("float16"),
        key,
        value,
        cache,
        positions,
        lambda x, seen: jax.nn.softmax(jnp.where(seen, x * jnp.float16(1 / 64), jnp.float16(-6e4))),
    )


def clipped_above(query, key, value, cache, positions, mask, params):
    return attend(
        query,
        key,
        value,
        cache,
        positions,
        lambda x, seen: jax.nn.softmax(jnp.where(seen, jnp.minimum(x, 100.0), -1e30)),
    )


def negated(query, key, value, cache, positions, mask, params):
    return attend(
        query, key, value, cache, positions, lambda x, seen: jax.nn.softmax(jnp.where(seen, -x, -1e30))
    )


def all_alike(query, key, value, cache, positions, mask, params):
    return attend(
        query, key, value, cache, positions, lambda x, seen: jax.nn.softmax(jnp.where(seen, 0 * x, -1e30))
    )


def hard(query, key, value, cache, positions, mask, params):
    """All weight is on the largest logit."""

    def largest(logits, seen):
        logits = jnp.where(seen, logits, -1e30)
        found = (logits == logits.max(-1, keepdims=True)).astype(logits.dtype)
        return found / found.sum(-1, keepdims=True)

    return attend(query, key, value, cache, positions, largest)


def values_elsewhere(query, key, value, cache, positions, mask, params):
    """Values are written to slot 1 at position 1, to slot 3 at position 2."""
    cache = {
        "k": append_rows(cache["k"], key, positions),
        "v": append_rows(cache["v"], value, 2 * positions - 1),
    }
    return plain_attend(query, cache["k"], cache["v"], visible(cache["k"].shape[1], positions)), cache


def test_a_scale_that_is_no_number_of_the_models_is_measured() -> None:
    # float32 logistic functions of at most 1.5, inverted
    assert scale_of(Spelling(three_factors)) == pytest.approx(0.21, rel=1e-4)


def test_large_operands_stay_in_the_range_of_float16() -> None:
    spelling = Spelling(small_scale_in_float16, dtype="float16")
    assert scale_of(spelling) == pytest.approx(1 / 64, rel=1e-7)


@pytest.mark.parametrize(
    ("attend", "reason"),
    [
        (
            clipped_above,
            r"at large q.K\^T, as under a soft cap or a clip, it differs from softmax\(1 q.K\^T\)",
        ),
        (negated, "its logits do not grow with q.k"),
        (all_alike, "its logits do not grow with q.k"),
        (hard, "its output is not a weighted mean of the values"),
        (values_elsewhere, "it does not append one token at the next position of the V cache"),
    ],
)
def test_what_is_no_softmax_of_the_scaled_product_is_refused(attend: Attend, reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        scale_of(Spelling(attend))


def test_another_layout_does_not_pass() -> None:
    """Interleaved heads taken for heads in groups: the sizes fit, the numbers do not."""
    runner = runner_of(SPELLINGS["interleaved_heads"])
    layout = infer_layout(runner)
    validate_attention(runner, layout)
    taken_for = infer_layout(runner_of(SPELLINGS["grouped_by_reshape"]))
    with pytest.raises(ValidationError, match="it differs from softmax"):
        validate_attention(runner, dataclasses.replace(layout, query=taken_for.query))


REASONS = {
    "without_softmax": "it does not halve the weight between two equal logits",
    "softmax_over_heads": "it does not halve the weight between two equal logits",
    "softmax_with_a_sink": "it does not halve the weight between two equal logits",
    "blind_to_itself": "it does not halve the weight between two equal logits",
    "bent_logits": r"^it differs from softmax\(0.353553 q.K\^T\).V over the valid tokens by 0.\d+ on random inputs",
    "fixed_bias": r"it does not halve the weight|it differs from softmax",
    "sliding_window": r"^it differs from softmax",
    "soft_capped": r"^at large q.K\^T, as under a soft cap or a clip, it differs from softmax\(0.353553 q.K\^T\)",
    "clipped": r"^at large q.K\^T, as under a soft cap or a clip, it differs from softmax",
    "backwards": "it does not append one token at the next position of the K cache",
}


@pytest.mark.parametrize("name", REASONS)
def test_a_near_miss_is_refused_with_what_differs(name: str) -> None:
    with pytest.raises(ValidationError, match=REASONS[name]):
        scale_of(NEAR_MISSES[name])
