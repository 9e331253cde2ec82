"""Models that cannot be traced are refused by name, with what would be accepted."""

from collections.abc import Callable
from typing import Any

import jax
import pytest
from flax import linen, nnx
from jax import numpy as jnp

from cost_models import HardwareSpec
from partitioner import ModelError, PartitionError, Workload, partition
from partitioner.front import trace_model
from partitioner.frontend import StepFunction, adapt, from_step
from tests.partitioner.small_models import (
    LinenDecoder,
    MhaDecoder,
    linen_variables,
    plain_cache,
    plain_params,
    plain_step,
)


def step_that(change: Callable[[Any, Any], Any], **options: Any) -> StepFunction:
    """Returns the plain step with its result changed."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> Any:
        return change(*plain_step(params, tokens, cache, positions, mask))

    given = {"params": plain_params(), "init_cache": plain_cache, "name": "changed"} | options
    return from_step(step, **given)


def shorter(cache: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return cache | {"values": cache["values"][:, 1:]}


def branching(logits: jax.Array, cache: Any) -> Any:
    return (logits, cache) if logits[0, 0, 0] > 0 else (-logits, cache)


class ForgetsTheCache(nnx.Module):
    """Has ``init_cache``, and a ``__call__`` that takes no cache."""

    def init_cache(self, batch_size: int, max_len: int) -> Any:
        return plain_cache(batch_size, max_len)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        return tokens


class NeedsAnEncoder(linen.Module):
    """Takes an argument that no decoder has."""

    @linen.compact
    def __call__(self, tokens: jax.Array, encoded: jax.Array) -> jax.Array:
        return tokens + encoded


CASES: dict[str, tuple[Callable[[], Any], str]] = {
    "a number": (lambda: 42, "cannot partition a int: pass an nnx.Module"),
    "a plain function": (lambda: plain_step, "cannot partition a function: .*from_step"),
    "a Linen module alone": (LinenDecoder, "a Linen module needs its variables"),
    "Linen variables without params": (lambda: (LinenDecoder(), {"cache": {}}), "hold no 'params'"),
    "no Linen variables": (lambda: (LinenDecoder(), None), "hold no 'params'"),
    "a Linen module that does not decode": (
        lambda: (LinenDecoder(decode=False), linen_variables()),
        "makes no 'cache' collection; build it for decoding",
    ),
    "variables of another Linen module": (
        lambda: (LinenDecoder(), {"params": {"Dense_0": {}}}),
        "tracing decode of LinenDecoder",
    ),
    "a module without a cache": (
        lambda: nnx.Linear(2, 2, rngs=nnx.Rngs(0)),
        r"Linear has neither init_cache\(batch_size, max_len\) nor",
    ),
    "a module that takes no cache": (
        ForgetsTheCache,
        r"ForgetsTheCache has init_cache, so its __call__ must accept \(tokens, cache, positions\)",
    ),
    "a Linen module that takes more": (
        lambda: (NeedsAnEncoder(), {"params": {}}),
        r"init of NeedsAnEncoder for tokens int32\[2, 10\] failed: TypeError: .*'encoded'; its __call__ must take tokens",
    ),
    "attention that does not decode": (
        lambda: MhaDecoder(decode=False),
        "MultiHeadAttention at attention.0 was made with decode=False",
    ),
    "logits of the wrong rank": (
        lambda: step_that(lambda logits, cache: (logits[:, -1], cache)),
        r"logits of changed must be \[batch, tokens, vocab\] with batch 2 in decode, got \(2, 40\)",
    ),
    "logits of another batch": (
        lambda: step_that(lambda logits, cache: (logits[:1], cache)),
        r"with batch 2 in decode, got \(1, 1, 40\)",
    ),
    "no cache returned": (
        lambda: step_that(lambda logits, cache: logits),
        r"changed must return \(logits, cache\) in decode",
    ),
    "a cache of another shape": (
        lambda: step_that(lambda logits, cache: (logits, shorter(cache))),
        "cache that changed returns in decode differs .* first at 'values'",
    ),
    "a cache of another dtype": (
        lambda: step_that(lambda logits, cache: (logits, jax.tree.map(lambda c: c.astype("float16"), cache))),
        "differs .* first at 'keys'; shapes, dtypes and structure must stay",
    ),
    "a cache with an entry less": (
        lambda: step_that(lambda logits, cache: (logits, {"keys": cache["keys"]})),
        "differs from the one it was given, first at 'structure'",
    ),
    "a step that takes two arguments": (
        lambda: from_step(lambda params, tokens: None, params={}, init_cache=plain_cache),
        r"step must accept \(params, tokens, cache, positions, mask\)",
    ),
    "a branch on values": (lambda: step_that(branching), "tracing decode of changed for tokens .* failed"),
    "a missing parameter": (
        lambda: step_that(lambda logits, cache: (logits, cache), params={"embed": jnp.ones((40, 24))}),
        "tracing decode of changed .* failed: .*query",
    ),
    "a parameter that is no array": (
        lambda: step_that(lambda logits, cache: (logits, cache), params=plain_params() | {"scale": "big"}),
        "parameter 'scale' of changed is no array but a str",
    ),
    "an init_cache of another signature": (
        lambda: step_that(lambda logits, cache: (logits, cache), init_cache=lambda rows: None),
        r"init_cache\(batch_size, max_len\) of changed failed",
    ),
    "chunks of four": (
        lambda: step_that(lambda logits, cache: (logits, cache), max_chunk=4),
        r"max_chunk must be None \(any\) or 1, got 4",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_model_in_no_accepted_form_is_refused(case: str) -> None:
    make, message = CASES[case]
    with pytest.raises(ModelError, match=message):
        trace_model(adapt(make()), HardwareSpec.load("demo"), Workload(2, 6, 4))


def test_partition_raises_the_same_error_which_is_a_partition_error() -> None:
    with pytest.raises(PartitionError, match="cannot partition a int"):
        partition(42, "demo")


def test_a_raised_error_names_the_cause_in_one_line_and_keeps_it() -> None:
    with pytest.raises(ModelError) as refused:
        trace_model(step_that(branching), HardwareSpec.load("demo"), Workload(2, 6, 4))
    assert "\n" not in str(refused.value)
    assert "TracerBoolConversionError" in str(refused.value)
    assert isinstance(refused.value.__cause__, jax.errors.TracerBoolConversionError)
