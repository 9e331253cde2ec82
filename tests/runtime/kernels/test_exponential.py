import numpy as np
from numba import njit

from runtime.kernels import softmax


@njit
def weigh(scores: np.ndarray, count: int, highest: np.float32) -> np.float32:
    return softmax.weigh(scores, count, highest)


def exponentials(x: np.ndarray) -> np.ndarray:
    """Returns what the kernels make of numbers, float32 [n]."""
    weights = x.copy()
    weigh(weights, len(weights), np.float32(0.0))
    return weights


def test_it_is_the_exponential() -> None:
    x = -np.concatenate([np.geomspace(1e-8, 87.0, 20_000), np.arange(88) * np.log(2.0)]).astype(np.float32)
    x = x[x >= -87.0]
    expected = np.exp(x.astype(np.float64))
    assert np.max(np.abs(exponentials(x) / expected - 1.0) / (1.0 + np.abs(x))) < 1e-6


def test_what_is_too_small_is_zero_and_nan_stays_nan() -> None:
    x = np.array([-87.1, -1e4, -3e38, -np.inf, 0.0, -0.0, np.nan], np.float32)
    np.testing.assert_array_equal(exponentials(x), [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, np.nan])


def test_the_sum_is_returned() -> None:
    assert weigh(np.zeros(7, np.float32), 5, np.float32(0.0)) == 5.0
