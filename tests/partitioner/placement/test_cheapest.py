"""Prices of all layers at once are those of each, and the cheapest placement goes through what costs no more than it."""

import math

import numpy as np
import pytest

from partitioner.placement.cheapest import cheapest_model, stage_paths
from partitioner.placement.folded import fold
from tests.partitioner.placement.problems import random_problem
from tests.partitioner.placement.relaxed import relaxed


@pytest.mark.parametrize("seed", range(30))
def test_layers_have_their_own_prices(seed: int) -> None:
    folded, rng = fold(random_problem(seed)), np.random.default_rng(seed)
    price, feature_price = rng.random(len(folded.most)), rng.random(len(folded.kinds.most))
    surcharge = feature_price @ folded.kinds.feature
    paths = stage_paths(folded, price, feature_price)
    for stage, path, numbers in zip(folded.stages, paths, folded.kinds.of, strict=True):
        for layer, priced, number in zip(stage.graph.layers, path.layers, numbers, strict=True):
            variant = layer.variant @ price + surcharge[number]
            ways = [np.flatnonzero(layer.way == way) for way in range(layer.target.shape[1])]
            least = np.array([variant[own].min() for own in ways])
            assert priced.layer is layer
            assert priced.variant == pytest.approx(variant)
            assert priced.least == pytest.approx(least)
            assert priced.length == pytest.approx(layer.move @ price + least)
            assert [priced.pick(n) for n in range(len(ways))] == [
                own[priced.variant[own].argmin()] for own in ways
            ]


def test_of_equally_cheap_variants_the_first_is_taken() -> None:
    several = 0
    for seed in range(60):
        folded = fold(random_problem(seed))
        for path in stage_paths(folded, np.zeros(len(folded.most)), np.zeros(len(folded.kinds.most))):
            for priced in path.layers:
                for way in range(priced.layer.target.shape[1]):
                    own = np.flatnonzero(priced.layer.way == way)
                    assert priced.pick(way) == own[0]
                    several += len(own) > 1
    assert several > 20


@pytest.mark.parametrize("seed", range(30))
def test_the_cheapest_placement_goes_through_arcs_that_cost_no_more(seed: int) -> None:
    _, root, _, _ = relaxed(random_problem(seed))
    model = cheapest_model(root.model.folded, root.paths)
    for path, ways, layers in zip(root.paths, model.ways, root.through, strict=True):
        for entry, leave in ways:
            state = int(path.graph.roots[entry])
            picks = path.picks(entry, leave)
            for layer, pick, (arcs, variants) in zip(path.graph.layers, picks, layers, strict=True):
                way = int(layer.way[pick])
                assert math.isclose(arcs[state, way], root.model.price, rel_tol=1e-9, abs_tol=1e-12)
                assert math.isclose(variants[pick], root.model.price, rel_tol=1e-9, abs_tol=1e-12)
                assert arcs.min() >= root.model.price * (1 - 1e-9) - 1e-12
                state = int(layer.target[state, way])
