"""A drive attends to the older tokens of sequences whose newest are elsewhere, and says what it takes to add the others."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.csd import Attend, DriveError, Health, Reclaim, Sparse, Write
from runtime.partial_attention import PartialAttention, merge_partials
from tests.runtime.test_partial_attention import attend_older

from .drives import configured, tokens
from .reference import attention

pytestmark = pytest.mark.usefixtures("each_backing")
PAGE = 4
"""Tokens of a page of the small drives."""


@settings(max_examples=25, deadline=None)
@given(
    pages=st.integers(0, 6),
    newer=st.integers(1, 9),
    soft_cap=st.sampled_from([None, 3.0]),
    window=st.sampled_from([None, 3, 12]),
    sloped=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_older_and_newer_tokens_add_up_to_all(
    pages: int, newer: int, soft_cap: float | None, window: int | None, sloped: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    older = PAGE * pages
    length = older + newer
    key, value = tokens(rng, 2, 2, length, 4), tokens(rng, 2, 2, length, 4)
    query, slopes = tokens(rng, 2, 2, 4), tokens(rng, 2) if sloped else None
    drive = configured(layer_gathers=(False, True))
    drive.execute(Write(0, key[:, :, :older], value[:, :, :older], np.zeros(2, np.int32)), 0.0)
    attributes: Any = {"soft_cap": soft_cap, "window": window, "slopes": slopes}
    stored, others = np.full(2, older), np.full(2, newer)
    done = drive.execute(Attend(0, query, None, None, stored, 0.4, **attributes, newer=others), 0.0)
    assert isinstance(done.value, PartialAttention)
    newest = attend_range(query, key, value, older, length, soft_cap, window, slopes)
    expected = attention(query, key, value, np.full(2, length), 0.4, soft_cap, window, slopes)
    np.testing.assert_allclose(merge_partials([done.value, newest]), expected, atol=1e-5)


def test_a_layer_that_does_not_gather_needs_no_buffer() -> None:
    task = {"num_layers": 2, "batch_size": 3}
    with_buffer, without = configured(**task), configured(**task, layer_gathers=(False, False))
    half = configured(**task, layer_gathers=(False, True))
    sizes = [d.execute(Health(), 0.0).value.dram_buffer_bytes for d in (with_buffer, half, without)]
    assert sizes == [sizes[0], sizes[0] // 2, 0]
    assert sizes[0] == 2 * 3 * 2 * 2 * PAGE * 16


def test_pages_come_one_after_the_other_and_go_whole() -> None:
    rng, drive = np.random.default_rng(0), configured(layer_gathers=(False, False))
    key, value = tokens(rng, 1, 2, 8, 4), tokens(rng, 1, 2, 8, 4)
    drive.execute(Write(0, key[:, :, :PAGE], value[:, :, :PAGE], np.zeros(1, np.int32)), 0.0)
    done = drive.execute(Write(0, key[:, :, PAGE:], value[:, :, PAGE:], np.array([PAGE])), 0.0)
    assert done.detail.bytes_programmed == 2 * 2 * 64
    drive.execute(Reclaim(layer=0, rows=np.array([0]), tokens=(PAGE, 8)), 0.0)
    query, stored, newer = tokens(rng, 1, 2, 4), np.array([PAGE]), np.array([0])
    got = drive.execute(Attend(0, query, None, None, stored, 0.4, newer=newer), 0.0).value
    np.testing.assert_allclose(got.output, attention(query, key, value, stored, 0.4), atol=1e-5)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            Write(0, np.zeros((1, 2, 3, 4), np.float32), np.zeros((1, 2, 3, 4), np.float32), np.zeros(1, int)),
            "would end at token 3, inside of a page of 4 tokens.*give whole pages, or set the layer in layer_gathers",
        ),
        (
            Attend(
                0, np.zeros((1, 2, 4)), np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 4), np.float32),
                np.array([9]), 0.4,
            ),
            "inside of a page of 4 tokens",
        ),
        (Reclaim(layer=0, tokens=(6, 8)), "would end at token 6, inside of a page"),
        (
            Attend(
                0, np.zeros((1, 2, 4)), np.zeros((1, 2, 4), np.float32), np.zeros((1, 2, 4), np.float32),
                np.array([9]), 0.4, newer=np.array([1]),
            ),
            "newer tokens are elsewhere; write whole pages of tokens, oldest first",
        ),
        (
            Attend(
                0, np.zeros((1, 2, 4)), None, None, np.array([8]), 0.4, newer=np.array([1]),
                sparse=Sparse(1, np.array([2]), np.array([1]), mean_value=False),
            ),
            "chooses among all tokens of a sequence, and newer ones are elsewhere; attend without sparse",
        ),
        (
            Attend(0, np.zeros((1, 2, 4)), None, None, np.array([8]), 0.4, newer=np.array([-1])),
            r"newer is \[-1\]; give numbers of at least 0",
        ),
    ],
    ids=["write", "append", "reclaim", "append behind newer", "sparse", "negative"],
)  # fmt: skip
def test_what_breaks_pages_or_statistics_is_refused(command: Any, message: str) -> None:
    drive = configured(layer_gathers=(False, True))
    key = np.zeros((3, 2, 8, 4), np.float32)
    drive.execute(Write(0, key, key, np.zeros(3, np.int32)), 0.0)
    with pytest.raises(DriveError, match=message):
        drive.execute(command, 0.0)
    assert (
        drive.execute(Attend(0, np.zeros((1, 2, 4)), None, None, np.array([8]), 0.4), 0.0).value is not None
    )


def test_every_layer_gathers_or_does_not() -> None:
    with pytest.raises(
        DriveError, match=r"layer_gathers is \[True\]; give one truth value for each of 2 layers"
    ):
        configured(layer_gathers=(True,))


def attend_range(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, first: int, length: int, soft_cap: float | None,
    window: int | None, slopes: np.ndarray | None,
) -> PartialAttention:  # fmt: skip
    """Attends to tokens ``first`` to ``length`` of sequences that have as many."""
    seen = length - first if window is None else min(window, length - first)
    return attend_older(query, key, value, length, length, soft_cap, seen, slopes)
