"""Items take their turns so that sums stay near zero, and none is lost."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from partitioner.placement.turns import in_turns


@given(
    st.dictionaries(
        st.integers(0, 9),
        st.tuples(st.integers(1, 5), st.tuples(st.floats(-4, 4), st.floats(-4, 4))),
        min_size=1,
        max_size=5,
    )
)
def test_every_item_comes_as_often_as_counted(items: dict[int, tuple[int, tuple[float, float]]]) -> None:
    counts = Counter({item: count for item, (count, _) in items.items()})
    ordered = in_turns(counts, {item: np.array(ahead) for item, (_, ahead) in items.items()})
    assert Counter(ordered) == counts


def test_items_that_get_ahead_alternate_with_those_that_fall_behind() -> None:
    ordered = in_turns(Counter(a=2, b=4), {"a": np.array([2.0]), "b": np.array([-1.0])})
    assert ordered == ["b", "a", "b", "b", "a", "b"]


def test_of_items_that_are_equally_close_the_first_is_taken() -> None:
    ahead = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, -1.0]), "c": np.array([-1.0, 1.0])}
    assert in_turns(Counter(["a", "b", "c"]), ahead) == ["a", "c", "b"]


def test_what_is_asked_for_is_left_as_it_was() -> None:
    counts = Counter(a=2)
    in_turns(counts, {"a": np.array([0.0])})
    assert counts == Counter(a=2)
