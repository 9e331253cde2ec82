import numpy as np
import pytest

from runtime.csd.errors import CapacityError
from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.geometry import Geometry

GEOMETRY = Geometry(
    channels=2, dies_per_channel=1, planes_per_die=1, blocks_per_plane=3, pages_per_block=4, page_bytes=64
)


def test_unused_blocks_come_before_worn_ones_and_the_least_worn_before_others() -> None:
    free = FreeBlocks(GEOMETRY)
    assert free.take(np.array([1, 1, 1])).tolist() == [3, 4, 5]
    free.give(3, wear=7)
    free.give(5, wear=2)
    free.give(4, wear=9)
    assert free.count == 6
    assert free.take(np.array([1, 0, 1, 1])).tolist() == [5, 0, 3, 4]
    assert free.count == 2


def test_a_full_unit_gives_nothing_at_all() -> None:
    free = FreeBlocks(GEOMETRY)
    with pytest.raises(
        CapacityError, match=r"flash is full: 4 blocks wanted in one plane, 3 erased ones; reclaim"
    ):
        free.take(np.array([1, 0, 0, 0, 0]))
    assert free.count == 6


def test_blocks_that_come_worn_are_handed_out_last() -> None:
    free = FreeBlocks(GEOMETRY, rated_pe_cycles=10, worn=np.array([0, 1, 4]))
    assert free.count == 6
    assert free.take(np.array([0, 1, 1])).tolist() == [2, 3, 5]
    free.give(3, wear=8)
    assert free.take(np.array([1, 1, 0, 0])).tolist() == [3, 4, 0, 1]
    assert (free.count, free.num_retired) == (0, 0)


def test_a_block_at_its_rated_erases_is_retired() -> None:
    free = FreeBlocks(GEOMETRY, rated_pe_cycles=10)
    assert free.take(np.array([0, 0])).tolist() == [0, 1]
    free.give(0, wear=9)
    free.give(1, wear=10)
    assert (free.count, free.num_retired) == (5, 1)
    assert free.take(np.array([0, 0])).tolist() == [2, 0]
    with pytest.raises(
        CapacityError,
        match=r"1 blocks wanted in one plane, 0 erased ones, 1 blocks of the drive are retired; reclaim",
    ):
        free.take(np.array([0]))


def test_a_condemned_block_is_retired_when_it_is_given_back() -> None:
    free = FreeBlocks(GEOMETRY)
    blocks = free.take(np.array([0, 1, 1]))
    free.condemn(blocks[:2])
    assert (free.count, free.num_retired) == (3, 0)
    for block in blocks.tolist():
        free.give(block, wear=1)
    assert (free.count, free.num_retired) == (4, 2)
    assert free.take(np.array([1, 1])).tolist() == [5, 4]
