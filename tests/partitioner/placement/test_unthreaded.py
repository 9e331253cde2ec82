"""Products that no threads take part in are those of numpy."""

import numpy as np
import pytest

from partitioner.placement.unthreaded import AT_ONCE, product, times


def test_products_with_a_vector() -> None:
    random = np.random.default_rng(0)
    vector = random.normal(size=7)
    for shape in ((5, 7), (3, 4, 7)):
        matrix = random.normal(size=shape)
        assert times(matrix, vector) == pytest.approx(matrix @ vector)


@pytest.mark.parametrize("shape", [(3, 4, 5), (90, 90, 400), (400, 600, 3), (500, 500, 130), (4, 4, 0)])
def test_products_of_matrices_in_parts(shape: tuple[int, int, int]) -> None:
    num_rows, middle, num_columns = shape
    random = np.random.default_rng(1)
    first, second = random.normal(size=(num_rows, middle)), random.normal(size=(middle, num_columns))
    assert product(first, second) == pytest.approx(first @ second)
    assert AT_ONCE < 262_144
