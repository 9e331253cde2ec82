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
