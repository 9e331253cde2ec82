"""H2O against one that keeps lists, in float64."""

import numpy as np
import pytest

from models.accuracy.decode_layer import DecodeLayer, attend_by
from models.accuracy.h2o import H2O

from .layers import random_layer, weights_over


def by_lists(layer: DecodeLayer, compression: float, row: int, head: int) -> tuple[np.ndarray, list[int]]:
    """Outputs [G, Q, D] of one KV head, and how many tokens each query attended to."""
    query, prompt = np.asarray(layer.query[row, head]), np.asarray(layer.prompt_query[row, head])
    keys, values = np.asarray(layer.keys[row, head]), np.asarray(layer.values[row, head])
    received: dict[int, float] = dict.fromkeys(range(prompt.shape[1]), 0.0)
    for i in range(prompt.shape[1]):
        for token, weight in enumerate(weights_over(prompt[:, i], keys[: i + 1]).sum(axis=0)):
            received[token] += weight
    outputs, sizes = [], []
    for i in range(query.shape[1]):
        newest = prompt.shape[1] + i
        kept = int(np.ceil((newest + 1) / compression))
        recent = int(np.ceil(kept / 2))
        while len(received) >= kept:
            del received[min((t for t in received if t <= newest - recent), key=received.__getitem__)]
        received[newest] = 0.0
        tokens = sorted(received)
        weights = weights_over(query[:, i], keys[tokens])
        for token, weight in zip(tokens, weights.sum(axis=0), strict=True):
            received[token] += weight
        outputs.append(weights @ values[tokens].astype(np.float64))
        sizes.append(len(tokens))
    return np.stack(outputs, axis=1), sizes


@pytest.mark.parametrize(("compression", "shared"), [(2.0, 1), (5.0, 2), (16.0, 1), (60.0, 1)])
def test_equals_lists_of_tokens(compression: float, shared: int) -> None:
    layer = random_layer(5, shared=shared, later=23)
    method = H2O(compression)
    output, reads = attend_by(method, layer)
    for row, head in np.ndindex(2, 2):
        expected, sizes = by_lists(layer, compression, row, head)
        np.testing.assert_allclose(output[row, head], expected, atol=2e-5)
        np.testing.assert_array_equal(reads.elements[row], 2 * 2 * 8 * np.array(sizes))
