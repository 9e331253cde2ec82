"""Tokens are drawn as settings say, and depend on nothing but the row's own logits, settings and number."""

from collections.abc import Sequence

import jax
import numpy as np
import pytest
from jax import numpy as jnp
from scipy import stats

from runtime import Sampling, SessionError
from runtime.sampling import NO_TOKEN, greedy, sample
from runtime.sampling_settings import RowSettings

INF = float("inf")
NUM_DRAWS = 4000
LOGITS = np.array([1.5, -0.5, 0.3, 2.0, -INF, 0.3], np.float32)
run = jax.jit(sample)


def draw(rows: np.ndarray, samplings: Sequence[Sampling], numbers: Sequence[int]) -> list[int]:
    settings = RowSettings.of(samplings, [3] * len(samplings))
    zeros = np.zeros(len(rows), np.int32)
    return run(rows[:, None], zeros, np.array(numbers, np.int32) + 3, settings).tolist()


def many(sampling: Sampling, logits: np.ndarray = LOGITS) -> np.ndarray:
    """Returns how often each token is drawn as token 0, 1, 2, ... of one request."""
    rows = np.broadcast_to(logits, (NUM_DRAWS, logits.size))
    drawn = draw(rows, [sampling] * NUM_DRAWS, range(NUM_DRAWS))
    return np.bincount(drawn, minlength=logits.size)


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits.astype(np.float64) - logits.max())
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (Sampling(1.0, seed=3), (0, 1, 2, 3, 5)),
        (Sampling(0.6, seed=4), (0, 1, 2, 3, 5)),
        (
            Sampling(1.0, top_k=3, seed=5),
            (0, 2, 3),
        ),  # tokens 2 and 5 are equally likely: the smaller id ranks first
        (
            Sampling(1.0, top_p=0.8, seed=6),
            (0, 2, 3),
        ),  # 0.46 + 0.28 fall short of 0.8, the next one passes it
        (Sampling(2.0, top_k=4, top_p=0.7, seed=7), (0, 2, 3)),
    ],
)
def test_tokens_come_as_often_as_their_probability(sampling: Sampling, kept: tuple[int, ...]) -> None:
    counts = many(sampling)
    assert set(np.flatnonzero(counts)) == set(kept)
    expected = softmax(LOGITS[list(kept)] / sampling.temperature) * NUM_DRAWS
    assert stats.chisquare(counts[list(kept)], expected).pvalue > 1e-3


def test_draws_of_neighbouring_seeds_are_independent() -> None:
    rows = np.broadcast_to(LOGITS[:4], (NUM_DRAWS, 4))
    first, second = (
        draw(rows, [Sampling(1.0, seed=seed) for seed in range(at, at + NUM_DRAWS)], [0] * NUM_DRAWS)
        for at in (0, 1)
    )
    table = np.histogram2d(first, second, bins=[range(5), range(5)])[0]
    _, p_value, *_ = stats.chi2_contingency(table)
    assert p_value > 1e-3


@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(0.0, 5, 0.5, 9), Sampling(1.3, top_k=1), Sampling(1.3, top_p=1e-9)]
)
def test_what_keeps_one_token_takes_the_likeliest(sampling: Sampling) -> None:
    rows = np.round(np.random.default_rng(0).normal(size=(64, 12)) * 2).astype(np.float32)  # many ties
    assert (
        draw(rows, [sampling] * 64, range(64))
        == greedy(jnp.asarray(rows)[:, None], jnp.zeros(64, jnp.int32)).tolist()
    )


def test_a_row_alone_gets_what_it_gets_among_others() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(16, 40)).astype(np.float32)
    samplings = [Sampling(0.3 * (i % 4), [None, 3][i % 2], [1.0, 0.9, 0.4][i % 3], i % 5) for i in range(16)]
    together = draw(rows, samplings, range(16))
    alone = [draw(rows[i : i + 1], samplings[i : i + 1], [i])[0] for i in range(16)]
    assert together == alone


@pytest.mark.parametrize("top_p", [1.0, 0.999])
def test_a_huge_vocabulary_loses_no_token_to_rounding(top_p: float) -> None:
    """Sums of many small probabilities round to 1 before their end."""
    logits = np.zeros(200_000, np.float32)
    drawn = draw(np.broadcast_to(logits, (24, logits.size)), [Sampling(1.0, top_p=top_p)] * 24, range(24))
    assert max(drawn) > 150_000
    assert len(set(drawn)) == 24


@pytest.mark.parametrize("row", [[0.0, np.nan], [0.0, INF], [-INF, -INF]])
def test_logits_that_name_no_token(row: list[float]) -> None:
    rows = np.array([row, [-INF, 0.0]], np.float32)
    assert draw(rows, [Sampling(1.0)] * 2, [0, 0]) == [NO_TOKEN, 1]


@pytest.mark.parametrize("temperature", [1e-300, 1e-30, 1e30, 1e300])
def test_extreme_temperatures(temperature: float) -> None:
    counts = many(Sampling(temperature))
    assert counts[3] == NUM_DRAWS if temperature < 1 else stats.chisquare(counts[counts > 0]).pvalue > 1e-3
    assert counts[4] == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature is -0.1; give a number of at least 0"),
        ({"temperature": float("nan")}, "temperature is nan; give a number of at least 0"),
        ({"temperature": INF}, "temperature is inf; give a number of at least 0"),
        ({"temperature": "hot"}, "temperature is 'hot'; give a number of at least 0"),
        ({"top_k": 0}, "top_k is 0; give a whole number of at least 1"),
        ({"top_k": 2.5}, "top_k is 2.5; give a whole number of at least 1"),
        ({"top_p": 0.0}, "top_p is 0.0; give a number above 0 and up to 1"),
        ({"top_p": 1.1}, "top_p is 1.1; give a number above 0 and up to 1"),
        ({"seed": -1}, r"seed is -1; give a whole number from 0 to 2\*\*32 - 1"),
        ({"seed": 2**32}, "seed is 4294967296; give a whole number from 0"),
        ({"seed": True}, "seed is True; give a whole number from 0"),
    ],
)
def test_settings_out_of_range(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SessionError, match=message):
        Sampling(**settings)  # pyright: ignore[reportArgumentType]
