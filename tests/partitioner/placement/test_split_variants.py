"""Variants that are kept as rows of numbers are those that the numbers say, and lists tell all that a problem asks of them."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from partitioner.placement.evaluate import breakdown
from partitioner.placement.problem import Block, Choice, Problem, Stage
from partitioner.placement.split_variants import SplitVariants, StoreTable
from partitioner.placement.validate import validate
from partitioner.placement.variant_list import (
    JoinedVariants,
    Variant,
    VariantNumbers,
    joined,
    ran_of,
    samples_of,
)

UNITS = np.array([[2, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
TO_HOST = StoreTable((3,), np.array([[0.0], [0.5], [1.0]]), np.zeros(3))
TO_DRIVES = StoreTable((1, 3), np.array([[0.0, 0.0], [0.25, 2.0], [0.5, 4.0]]), np.array([0.0, 7.0, 14.0]))
ALONE = Variant((1, 1), (8.0, 9.0), (0.0, 6.0, 0.0), ((2, 3.0),), ("host", "host", "host"), (0.0, 1.0, 0.0))


def splits(
    decode_s: float = 5.0, stores: Sequence[StoreTable | None] = (None, TO_HOST, TO_DRIVES)
) -> SplitVariants:
    rows = len(UNITS)
    seconds = np.stack([np.ones(rows), decode_s + np.arange(rows)], axis=1)
    return SplitVariants(
        (0, 0), ("gpu", "split", "split"), UNITS, seconds, 10.0 * UNITS, np.ones((rows, 3)), stores
    )


def test_a_split_loads_what_its_tiers_take_together() -> None:
    key = ("gpu", "split", "split")
    assert splits()[:] == (
        Variant((0, 0), (1.0, 5.0), (20.0, 0.0, 0.0), (), (*key, "gpu=2"), (1.0, 1.0, 1.0)),
        Variant(
            (0, 0), (1.0, 6.0), (10.0, 10.0, 0.0), ((3, 0.5),), (*key, "gpu=1", "host=1"), (1.0, 1.0, 1.0)
        ),
        Variant(
            (0, 0),
            (1.0, 7.0),
            (10.0, 0.0, 10.0),
            ((1, 0.25), (3, 2.0)),
            (*key, "gpu=1", "csd=1"),
            (1.0, 1.0, 8.0),
        ),
        Variant(
            (0, 0),
            (1.0, 8.0),
            (0.0, 10.0, 10.0),
            ((1, 0.25), (3, 2.5)),
            (*key, "host=1", "csd=1"),
            (1.0, 1.0, 8.0),
        ),
    )
    assert splits()[-1] is not None
    with pytest.raises(IndexError):
        splits()[4]


@pytest.mark.parametrize("parts", [[splits()], [(ALONE,), splits()], [splits(), (ALONE, ALONE), splits(6.0)]])
def test_numbers_of_a_list_are_those_of_its_variants(parts: list[Sequence[Variant]]) -> None:
    variants = joined(parts)
    one_by_one = tuple(variants)
    assert len(variants) == len(one_by_one) == sum(map(len, parts))
    told, made = VariantNumbers.of(variants), VariantNumbers.of(one_by_one)
    for name in ("seconds", "memory", "row", "resource", "load_s"):
        assert np.array_equal(getattr(told, name), getattr(made, name)), name
    assert list(ran_of(variants)) == ran_of(one_by_one)
    forms = [
        {(v.tiers, tuple(r for r, _ in v.busy)) for v in samples_of(each)} for each in (variants, one_by_one)
    ]
    assert forms[0] == forms[1]
    assert variants[len(variants) - 1] == one_by_one[-1]


def test_lists_are_equal_by_what_they_hold() -> None:
    assert splits() == splits()
    assert splits() != splits(decode_s=6.0)
    assert splits() != splits(stores=(None, None, TO_DRIVES))
    assert JoinedVariants([splits(), (ALONE,)]) == JoinedVariants([splits(), (ALONE,)])
    assert JoinedVariants([splits(), (ALONE,)]) != JoinedVariants([splits(6.0), (ALONE,)])
    assert Choice("a", splits()) == Choice("a", splits())


def test_parts_without_rows_stay_a_tuple() -> None:
    assert joined([(ALONE,), (), (ALONE,)]) == (ALONE, ALONE)
    assert joined([]) == ()
    rows = splits()
    assert joined([(), rows, ()]) is rows


def test_what_is_faulty_is_told_as_for_single_variants() -> None:
    for bad in (-1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="finite and not negative"):
            splits(decode_s=bad)
    problem = Problem(
        ("gpu", "host", "csd"),
        (30.0, 30.0, 30.0),
        ("prefill", "decode"),
        (("a", 0), ("b", 0), ("c", 0), ("d", 0)),
        (Stage(Block("layer", (Choice("attention", splits()),), (), (), ()), 2),),
    )
    validate(problem)
    assert breakdown(problem, (((1,), (3,)),)).busy_s == (0.0, 0.25, 0.0, 3.0)
    with pytest.raises(ValueError, match="loads one of 3 resources"):
        validate(replace(problem, resources=problem.resources[:3]))
