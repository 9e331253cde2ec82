"""A first placement is near the bound, and problems with few arcs come to it with fewer programs."""

import math

import pytest

from partitioner.placement import first_search
from partitioner.placement.search_space import Found
from tests.partitioner.placement.decoder import CAPACITIES, decoder_problem
from tests.partitioner.placement.relaxed import relaxed


def first(monkeypatch: pytest.MonkeyPatch, few_arcs: int, share: float) -> tuple[Found, int]:
    """Returns what is found where problems of at most so many arcs have few, and how many programs that took."""
    programs = 0
    best_along = first_search.best_along

    def counted(*args: object) -> Found:
        nonlocal programs
        programs += 1
        return best_along(*args)  # pyright: ignore[reportArgumentType]

    problem = decoder_problem(40, (share * CAPACITIES[0], *CAPACITIES[1:]), rich=True)
    space, root, _, _ = relaxed(problem)
    assert space.is_large
    with monkeypatch.context() as patch:
        patch.setattr(first_search, "FEW_ARCS", few_arcs)
        patch.setattr(first_search, "best_along", counted)
        return first_search.first_placement(space, root, None, math.inf), programs


@pytest.mark.parametrize(("share", "fits"), [(0.3, False), (0.8, True), (1.6, False)])
def test_few_arcs_begin_with_the_second_distance(
    share: float, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (few, num_few), (many, num_many) = (first(monkeypatch, most, share) for most in (10**9, 0))
    assert num_few == num_many - 1
    assert few.bound == pytest.approx(many.bound, rel=1e-6)
    assert (few.placed is not None) == (many.placed is not None) == fits
    if few.placed and many.placed:
        assert few.placed.value == pytest.approx(many.placed.value, rel=1e-6)
