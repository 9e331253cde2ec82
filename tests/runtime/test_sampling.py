"""The likeliest token, or the word that there is none."""

import numpy as np
import pytest
from jax import numpy as jnp

from runtime import SessionError
from runtime.sampling import NO_TOKEN, check_chosen, greedy

NAN, INF = float("nan"), float("inf")


def chosen(rows: list[list[float]]) -> list[int]:
    logits = jnp.asarray(rows, jnp.float32)[:, None]
    return greedy(logits, jnp.zeros(len(rows), jnp.int32)).tolist()


def test_the_largest_logit_wins_and_the_first_of_equals() -> None:
    assert chosen([[0.0, 2.0, 1.0], [3.0, 3.0, -1.0]]) == [1, 0]


def test_minus_infinity_rules_a_token_out() -> None:
    assert chosen([[-INF, -5.0, -INF]]) == [1]


@pytest.mark.parametrize("row", [[0.0, NAN, 1.0], [0.0, INF, 1.0], [-INF, -INF, -INF], [NAN, INF, -INF]])
def test_there_is_no_likeliest_token(row: list[float]) -> None:
    assert chosen([row, [0.0, 0.0, 1.0]]) == [NO_TOKEN, 2]


def test_the_position_wanted_is_chosen_from() -> None:
    logits = jnp.asarray([[[0.0, 1.0], [1.0, 0.0]], [[0.0, 1.0], [NAN, 0.0]]])
    assert greedy(logits, jnp.array([1, 0])).tolist() == [0, 1]
    assert greedy(logits, jnp.array([0, 1])).tolist() == [1, NO_TOKEN]


def test_half_precision_logits_are_compared_as_they_are() -> None:
    logits = jnp.asarray([[[1.0, 1.001, 0.0]]], jnp.float16)
    assert greedy(logits, jnp.zeros(1, jnp.int32)).tolist() == [1]


def test_the_error_counts_from_the_first_new_token() -> None:
    check_chosen(np.array([3, 0]), 2)
    with pytest.raises(SessionError, match="prompt 2 are NaN or infinite at new token 6; look for NaN"):
        check_chosen(np.array([3, NO_TOKEN, NO_TOKEN]), 2, first=5)
