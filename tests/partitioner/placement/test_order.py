"""Layers that stream much and layers that stream little take turns, as far as streams run ahead of the chain."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from partitioner.placement.columns import Column
from partitioner.placement.folded import Folded, fold
from partitioner.placement.order import in_order
from partitioner.placement.problem import Block, Choice, Flow, Problem, Stage
from partitioner.placement.variant_list import Variant


def layers(count: int, *rows: tuple[float, float]) -> Folded:
    """Returns a folded problem of alike layers, each of some seconds with a stream of some seconds."""
    variants = tuple(Variant((0,), (seconds,), (0.0,), ((0, load),)) for seconds, load in rows)
    flow: Any = Flow(0, None, 0, (0,), 0, ((0.0,),))
    block = Block("layer", (Choice("op", variants),), (flow,), (0,), (0,))
    return fold(Problem(("gpu",), (1.0,), ("decode",), (("link", 0),), (Stage(block, count),)))


def ordered(folded: Folded, counts: list[int]) -> list[Column]:
    columns = Counter(
        {
            Column(0, 0, 0, (pick,), folded.stages[0].graph.layers[0].variant[pick]): n
            for pick, n in enumerate(counts)
        }
    )
    return in_order(folded, [columns], folded.first_tier, 0, [1])[0]


@pytest.mark.parametrize("counts", [(5, 5), (8, 4), (3, 9), (1, 11)])
def test_streams_keep_pace_with_the_chain(counts: tuple[int, int]) -> None:
    """However far a generation has come, streams and chain are as far, to within a layer."""
    folded = layers(sum(counts), (1.0, 2.0), (3.0, 1.0))
    found = ordered(folded, list(counts))
    assert Counter(c.picks[0] for c in found) == Counter(dict(enumerate(counts)))
    passed = np.cumsum([c.vector[0] for c in found])
    streamed = np.cumsum([c.vector[1] for c in found])
    apart = np.abs(streamed - passed * streamed[-1] / passed[-1])
    assert apart.max() <= max(abs(c.vector[1] - c.vector[0] * streamed[-1] / passed[-1]) for c in found)


def test_layers_that_stream_alike_stay_together() -> None:
    found = ordered(layers(6, (1.0, 2.0), (3.0, 2.0)), [3, 3])
    assert [c.picks[0] for c in found] in ([0] * 3 + [1] * 3, [1] * 3 + [0] * 3)
