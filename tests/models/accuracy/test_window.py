import numpy as np
import pytest

from models.accuracy.decode_layer import attend_by
from models.accuracy.window import SINKS, Window

from .layers import random_layer, weights_over


@pytest.mark.parametrize("num_sinks", [0, SINKS])
@pytest.mark.parametrize("shared", [1, 3])
def test_attends_to_the_newest_and_the_first(num_sinks: int, shared: int) -> None:
    layer = random_layer(3, shared=shared)
    method = Window(4.0, num_sinks)
    output, reads = attend_by(method, layer)
    keys, values = np.asarray(layer.keys), np.asarray(layer.values)
    for i, length in enumerate(layer.context_lens):
        kept = int(np.ceil(length / 4))
        seen = [*range(num_sinks), *range(length - kept + num_sinks, length)]
        assert len(seen) == kept
        for row, head in np.ndindex(2, 2):
            weights = weights_over(np.asarray(layer.query[row, head, :, i]), keys[row, head, seen])
            np.testing.assert_allclose(output[row, head, :, i], weights @ values[row, head, seen], atol=2e-5)
        assert reads.elements[0, i] == 2 * 2 * 8 * kept


def test_a_window_that_is_smaller_than_the_sinks_has_the_newest_token() -> None:
    layer = random_layer(3, prompt=3, later=4)
    method = Window(16.0, SINKS)
    output, _ = attend_by(method, layer)
    np.testing.assert_allclose(output[:, :, 0], np.asarray(layer.values)[:, :, 3:], atol=1e-6)
