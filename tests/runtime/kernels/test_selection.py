import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit

from runtime.kernels import selection


@njit
def choose_largest(values: np.ndarray, count: int, num_chosen: int, chosen: np.ndarray) -> None:
    selection.choose_largest(values, count, num_chosen, chosen)


NUMBERS = st.one_of(st.floats(0, width=32), st.sampled_from([0.0, 1.0, 1e-45, 1e-38, float("inf")]))


@given(values=st.lists(NUMBERS, min_size=1, max_size=60), data=st.data())
def test_it_chooses_as_a_stable_sort_does(values: list[float], data: st.DataObject) -> None:
    array = np.array(values, np.float32)
    count = data.draw(st.integers(0, len(array)))
    num_chosen = data.draw(st.integers(0, count))
    chosen = np.full(num_chosen + 1, -1)
    choose_largest(array, count, num_chosen, chosen)
    expected = np.sort(np.argsort(-array[:count], kind="stable")[:num_chosen])
    np.testing.assert_array_equal(chosen, [*expected, -1])


def test_nan_counts_as_largest() -> None:
    chosen = np.full(2, -1)
    choose_largest(np.array([3.0, np.nan, np.inf, 5.0], np.float32), 4, 2, chosen)
    np.testing.assert_array_equal(chosen, [1, 2])


@pytest.mark.parametrize("value", [0.0, 0.25, float("inf"), float("nan")])
def test_of_equal_numbers_the_first_ones_are_chosen(value: float) -> None:
    chosen = np.full(3, -1)
    choose_largest(np.full(9, value, np.float32), 9, 3, chosen)
    np.testing.assert_array_equal(chosen, [0, 1, 2])
