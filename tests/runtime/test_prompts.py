"""Prompts are checked before anything runs."""

from typing import Any

import numpy as np
import pytest

from partitioner import Workload
from runtime import SessionError
from runtime.prompts import check_new_tokens, line_up

WORKLOAD = Workload(batch_size=2, prompt_len=4, decode_len=8)


class Letters:
    """A tokenizer for one letter per token."""

    def encode(self, text: str) -> list[int]:
        return [ord(c) - ord("a") for c in text]


def test_rows_are_padded_on_the_right_and_missing_ones_are_dummies() -> None:
    batch = line_up([[7, 8, 9]], WORKLOAD, 10, None)
    assert batch.tokens.tolist() == [[7, 8, 9, 0], [0, 0, 0, 0]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.num_prompts == 1


def test_text_arrays_and_tuples_are_prompts() -> None:
    batch = line_up(["ab", np.array([3, 1])], WORKLOAD, 26, Letters())
    assert batch.tokens[:, :2].tolist() == [[0, 1], [3, 1]]
    assert line_up([(1, 2)], WORKLOAD, 10, None).lengths.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "there are no prompts; give at least one"),
        ("abc", "prompts is a str; give a list of texts"),
        (7, "prompts is a int; give a list"),
        ([[1], [2], [3]], r"3 prompts for a plan with batch size 2; .*Workload\(batch_size=3\)"),
        ([[1], []], "prompt 1 is empty; give at least one token"),
        ([[1] * 5], r"prompt 0 has 5 tokens, the plan is for at most 4; .*Workload\(prompt_len=5\)"),
        (["abc"], "prompt 0 is text, but the model has no tokenizer"),
        ([[1, 10]], "prompt 0 holds token id 10, the model knows 0 to 9"),
        ([[-1]], "prompt 0 holds token id -1"),
        ([[0.5]], "dtype float64; give text or a list of whole numbers"),
        ([[[1, 2]]], r"shape \[1, 2\]"),
    ],
)
def test_bad_prompts(prompts: Any, message: str) -> None:
    with pytest.raises(SessionError, match=message):
        line_up(prompts, WORKLOAD, 10, None)


@pytest.mark.parametrize("count", [0, -3, 1.5, True, "8"])
def test_number_of_new_tokens_is_a_positive_whole_number(count: Any) -> None:
    with pytest.raises(SessionError, match=r"max_new_tokens is .*; give a whole number of at least 1"):
        check_new_tokens(count, WORKLOAD)


def test_more_new_tokens_than_the_plan_has_room_for() -> None:
    with pytest.raises(SessionError, match=r"the plan has room for 8; .*Workload\(decode_len=9\)"):
        check_new_tokens(9, WORKLOAD)
