"""A region passes for attention only if it computes what reference attention computes."""

import dataclasses
from typing import Any

import jax
import pytest
from jax import numpy as jnp

from partitioner.passes.infer_layout import infer_layout
from partitioner.passes.logit_rule import LogitRule, ValidationError
from partitioner.passes.read_logits import literal_factors, read_logits
from partitioner.passes.run_weights import WeightsRunner, weights_part
from partitioner.passes.validate_attention import validate_attention
from tests.partitioner.passes.near_misses import NEAR_MISSES, NO_SOFTMAX
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
from tests.partitioner.passes.traces import decode_of, runner_of


def rule_of(spelling: Spelling) -> LogitRule:
    """Returns the rule that is read off a region, once it is confirmed at small sizes."""
    runner = runner_of(spelling)
    weights = WeightsRunner(weights_part(runner.region, runner.phase, decode_of(spelling, 3, 7)[1].index))
    rule = read_logits(weights, weights, literal_factors(runner.region.equations))
    validate_attention(runner, infer_layout(runner), rule)
    return rule


def scale_of(spelling: Spelling) -> float:
    return rule_of(spelling).scale


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_passes_with_its_scale(name: str) -> None:
    rule = rule_of(SPELLINGS[name])
    assert rule == LogitRule(pytest.approx(SPELLINGS[name].scale, rel=1e-7))


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
            r"at large q.K\^T, as under a clip, it differs from softmax\(",
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
    layout, rule = infer_layout(runner), LogitRule(SPELLINGS["interleaved_heads"].scale)
    validate_attention(runner, layout, rule)
    taken_for = infer_layout(runner_of(SPELLINGS["grouped_by_reshape"]))
    with pytest.raises(ValidationError, match="it differs from softmax"):
        validate_attention(runner, dataclasses.replace(layout, query=taken_for.query), rule)


REASONS = {
    "without_softmax": NO_SOFTMAX,
    "softmax_over_heads": NO_SOFTMAX,
    "softmax_with_a_sink": NO_SOFTMAX,
    "blind_to_itself": "it gives one of two equal tokens no weight",
    "bent_logits": r"it differs from softmax\(0.353553 q.K\^T\).V over the valid tokens: between -1 and",
    "clipped": r"^at large q.K\^T, as under a clip, it differs from softmax",
    "backwards": "it weighs tokens behind the position",
}


@pytest.mark.parametrize("name", REASONS)
def test_a_near_miss_is_refused_with_what_differs(name: str) -> None:
    with pytest.raises(ValidationError, match=REASONS[name]):
        rule_of(NEAR_MISSES[name])


RULE = LogitRule(0.5, soft_cap=20.0, slopes=(0.25,) * 6, window=4)


def rule_spelled(query, key, value, cache, positions, mask, params, late=False):
    """Attends by ``RULE``; with ``late``, the cap comes after the bias."""
    rule = RULE
    cache = updated(key, value, cache, positions)
    slots = jnp.arange(cache["k"].shape[1])
    logits = jnp.einsum("bthd,bshd->bhts", query, cache["k"]) * rule.scale
    bias = rule.slopes[0] * (positions[:, None, :, None] - slots)
    logits = logits - bias if late else logits
    logits = rule.soft_cap * jnp.tanh(logits / rule.soft_cap)
    logits = logits if late else logits - bias
    seen = visible(len(slots), positions) & (slots > positions[:, :, None] - rule.window)[:, None]
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(jnp.where(seen, logits, -1e30)), cache["v"]), cache


@pytest.mark.parametrize(
    "change", [{"scale": 0.505}, {"soft_cap": 15.0}, {"slopes": (0.24,) * 6}, {"window": 5}, {"window": None}]
)
def test_another_rule_does_not_pass(change: dict[str, Any]) -> None:
    """Each attribute is seen on random or on large operands; the rule itself passes."""
    runner = runner_of(Spelling(rule_spelled))
    layout = infer_layout(runner)
    validate_attention(runner, layout, RULE)
    with pytest.raises(ValidationError, match=r"it differs from softmax\(.*V over the "):
        validate_attention(runner, layout, dataclasses.replace(RULE, **change))


def cap_behind_bias(*args):
    return rule_spelled(*args, late=True)


def test_a_cap_behind_the_bias_does_not_pass() -> None:
    with pytest.raises(ValidationError, match=r"differs from softmax\(|treat all slots before the position"):
        rule_of(Spelling(cap_behind_bias))
