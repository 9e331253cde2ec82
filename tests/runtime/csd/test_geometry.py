import dataclasses

import numpy as np
import pytest

from runtime.csd.errors import DriveError
from runtime.csd.geometry import Geometry, PageAddress

from .drives import FLASH

GEOMETRY = dataclasses.replace(Geometry.of(FLASH), planes_per_die=3)


def test_every_page_has_its_own_number() -> None:
    numbers = [GEOMETRY.ppn(GEOMETRY.address(ppn)) for ppn in range(GEOMETRY.num_pages)]
    assert numbers == list(range(GEOMETRY.num_pages))
    assert GEOMETRY.address(GEOMETRY.num_pages - 1) == PageAddress(3, 1, 2, 63, 7)


def test_consecutive_units_are_on_consecutive_channels() -> None:
    blocks = [GEOMETRY.first_block(unit) for unit in range(GEOMETRY.num_units)]
    channels = [GEOMETRY.address(block * GEOMETRY.pages_per_block).channel for block in blocks]
    assert channels == [unit % 4 for unit in range(24)]
    assert [GEOMETRY.unit_of(block) for block in blocks] == list(range(24))
    assert sorted(blocks) == list(range(0, GEOMETRY.num_blocks, 64))


def test_counts_per_channel() -> None:
    ppns = np.array([0, 1, GEOMETRY.pages_per_channel, GEOMETRY.num_pages - 1])
    assert GEOMETRY.pages_by_channel(ppns).tolist() == [2, 1, 0, 1]
    assert GEOMETRY.blocks_by_channel(ppns // 8).tolist() == [2, 1, 0, 1]


def test_addresses_outside_are_refused() -> None:
    with pytest.raises(DriveError, match=r"die 2 does not exist; this drive has dies 0 to 1"):
        GEOMETRY.ppn(PageAddress(0, 2, 0, 0, 0))
    with pytest.raises(DriveError, match=r"page number -1 does not exist"):
        GEOMETRY.address(-1)


def test_odd_page_sizes_are_refused() -> None:
    with pytest.raises(DriveError, match=r"page_bytes is 66; .* use a multiple of 4"):
        Geometry.of(dataclasses.replace(FLASH, page_bytes=66))
