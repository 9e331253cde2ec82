"""A model that counts one position for all rows is mapped over rows; what cannot be is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from jax import numpy as jnp

from partitioner.errors import ModelError
from partitioner.frontend import StepFunction, adapt, from_step, trace_phase
from tests.partitioner.small_models import plain_cache, plain_params, plain_step

Advance = Callable[[Any, int], Any]


def counting(advance: Advance, extra: Any = None) -> StepFunction:
    """Returns the plain decoder with a count of all rows' tokens in its state."""

    def step(params: Any, tokens: Any, state: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        logits, after = plain_step(params, tokens, state, positions, mask)
        return logits, {**state, **after, "count": advance(state["count"], tokens.shape[1])}

    def init_cache(rows: int, slots: int) -> Any:
        return {**plain_cache(rows, slots), **(extra or {}), "count": jnp.zeros((), jnp.int32)}

    return adapt(from_step(step, params=plain_params(), init_cache=init_cache))


def test_a_count_of_tokens_becomes_each_rows_own_position() -> None:
    function = counting(lambda count, chunk: count + chunk)
    phase = trace_phase(function, "prefill", batch_size=3, chunk=4, max_len=6)
    assert {i.name for i in phase.inputs if i.role in ("cache", "cursor")} == {"keys", "values"}


@pytest.mark.parametrize("advance", [lambda count, chunk: count + 1, lambda count, chunk: count])
def test_a_count_of_something_else_is_refused(advance: Advance) -> None:
    with pytest.raises(
        ModelError, match=r"'count' for all rows at once, which do not grow by the 4 tokens.*max_chunk=1"
    ):
        trace_phase(counting(advance), "prefill", batch_size=3, chunk=4, max_len=6)


def test_a_state_without_rows_is_refused() -> None:
    function = counting(lambda count, chunk: count + chunk, {"scale": jnp.ones(5)})
    with pytest.raises(
        ModelError, match=r"'scale' of shape \[5\] for 2 rows has no axis of rows.*give it one"
    ):
        trace_phase(function, "prefill", batch_size=3, chunk=4, max_len=6)
