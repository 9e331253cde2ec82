import dataclasses

import numpy as np
import pytest

from runtime.csd import CapacityError
from runtime.csd.block_share import BlockShare
from runtime.csd.free_blocks import FreeBlocks
from runtime.csd.ftl import Ftl
from runtime.csd.geometry import Geometry
from runtime.csd.nand import NandArray
from runtime.csd.stripe import Stripe
from runtime.csd.task import Task
from runtime.csd.traffic import Traffic

from .drives import FLASH

TASK = Task(
    num_layers=2,
    num_kv_heads=2,
    num_query_heads=2,
    head_size=4,
    dtype=np.dtype(np.float32),
    batch_size=2,
    max_len=80,
    page_bytes=64,
)


class Rig:
    def __init__(self, task: Task = TASK) -> None:
        self.nand = NandArray(Geometry.of(FLASH))
        self.free = FreeBlocks(self.nand.geometry)
        stripe = Stripe(self.nand.geometry, task)
        self.share = BlockShare(self.free, stripe.blocks_needed())
        self.ftl = Ftl(self.nand, task, stripe, self.share)
        self.traffic = Traffic(FLASH.channels)

    def append(self, layer: int, row: int, count: int, fill: int = 0) -> np.ndarray:
        data = np.full((count, 2, 2, 4, 16), fill, np.uint8)
        data[..., 0] = np.arange(count)[:, None, None, None]
        first = self.ftl.num_groups[layer, row]
        self.ftl.append(layer, np.full(count, row), first + np.arange(count), data, self.traffic)
        return data


def test_the_mapping_leads_to_what_was_written() -> None:
    rig = Rig()
    first, more = rig.append(1, 1, 5, fill=3), rig.append(1, 1, 2, fill=4)
    found = rig.ftl.read(1, 1, 0, 7, rig.traffic)
    assert (found == np.concatenate([first, more]).transpose(1, 2, 0, 3, 4)).all()
    assert rig.traffic.pages_programmed.sum() == rig.traffic.pages_read.sum() == 28
    table = rig.ftl.table(1)
    assert (table[1, :, :, :7] >= 0).all()
    assert (table[1, :, :, 7:] == -1).all()
    assert (table[0] == -1).all()


def test_consecutive_groups_are_on_consecutive_channels_and_dies() -> None:
    rig = Rig()
    rig.append(0, 0, 20)
    for lane in rig.ftl.table(0)[0].reshape(4, -1):
        places = [rig.nand.geometry.address(int(ppn)) for ppn in lane]
        channels = [place.channel for place in places]
        assert channels == [(channels[0] + group) % 4 for group in range(20)]
        assert {(place.channel, place.die) for place in places[:8]} == {
            (c, d) for c in range(4) for d in range(2)
        }


@pytest.mark.parametrize("groups", [1, 2, 3, 5, 8, 11])
def test_short_contexts_use_all_channels_evenly(groups: int) -> None:
    task = dataclasses.replace(TASK, num_kv_heads=8, num_query_heads=8)
    stripe = Stripe(Geometry.of(FLASH), task)
    for row in range(2):
        units = stripe.units(np.full(groups, row), np.arange(groups), 8)
        counts = np.bincount(units.reshape(-1), minlength=8)
        assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("dies", [1, 2, 8])
@pytest.mark.parametrize("side", [0, 1])
def test_reads_of_k_or_of_v_alone_use_all_channels_evenly(dies: int, side: int) -> None:
    task = dataclasses.replace(TASK, num_kv_heads=8, num_query_heads=8)
    stripe = Stripe(Geometry.of(dataclasses.replace(FLASH, dies_per_channel=dies)), task)
    units = stripe.units(np.zeros(1, np.int64), np.full(1, 3), 8)[..., side]
    assert np.bincount(units.reshape(-1) % FLASH.channels).tolist() == [2] * FLASH.channels


def test_reclaiming_a_sequence_frees_all_its_blocks_and_no_other() -> None:
    rig = Rig()
    blocks = rig.free.count
    for layer in range(2):
        rig.append(layer, 0, 20)
        kept = rig.append(layer, 1, 20, fill=9)
    for layer in range(2):
        rig.ftl.truncate(layer, 0, 0, rig.traffic)
    assert (rig.nand.next_page > 0).sum() == blocks - rig.free.count
    assert rig.nand.blocks_erased == rig.traffic.blocks_erased.sum() > 0
    assert rig.traffic.pages_read.sum() == 0
    assert rig.nand.pages_programmed == 4 * 20 * 4
    assert (rig.ftl.read(1, 1, 0, 20, rig.traffic) == kept.transpose(1, 2, 0, 3, 4)).all()
    for layer in range(2):
        rig.ftl.truncate(layer, 1, 0, rig.traffic)
    assert rig.free.count == blocks
    assert rig.ftl.mapped()[0].size == rig.ftl.num_valid == 0


def test_truncation_keeps_the_older_groups() -> None:
    rig = Rig()
    data = rig.append(0, 0, 10)
    rig.ftl.truncate(0, 0, 6, rig.traffic)
    rig.ftl.truncate(0, 0, 8, rig.traffic)
    more = rig.append(0, 0, 3, fill=5)
    expected = np.concatenate([data[:6], more]).transpose(1, 2, 0, 3, 4)
    assert (rig.ftl.read(0, 0, 0, 9, rig.traffic) == expected).all()


def test_wear_is_levelled() -> None:
    rig = Rig()
    for _ in range(200):
        rig.append(0, 0, 20)
        rig.ftl.truncate(0, 0, 0, rig.traffic)
    for wear in rig.nand.wear.reshape(8, 64):  # blocks of one plane
        assert wear.max() - wear.min() <= 1
        assert wear.min() >= 3
    assert rig.nand.wear.sum() == rig.nand.blocks_erased


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("max_len", [4, 36, 100, 200])
def test_the_capacity_check_is_exact(rows: int, max_len: int) -> None:
    task = dataclasses.replace(TASK, batch_size=rows, max_len=max_len)
    stripe = Stripe(Geometry.of(FLASH), task)
    needed = stripe.blocks_needed()
    rig = Rig(task)
    for row in range(rows):
        for layer in range(2):
            rig.append(layer, row, task.groups_per_sequence)
    units = [rig.nand.geometry.unit_of(int(block)) for block in np.flatnonzero(rig.nand.next_page)]
    assert (np.bincount(units, minlength=8) == needed).all()


def test_sequences_share_blocks_where_the_flash_is_too_small_for_blocks_of_their_own() -> None:
    """256 short sequences in 64 blocks a plane."""
    rig = Rig(dataclasses.replace(TASK, batch_size=256, max_len=8))
    assert Stripe(rig.nand.geometry, dataclasses.replace(TASK, batch_size=64, max_len=8)).num_streams == 64
    blocks = rig.free.count
    data = [rig.append(layer, row, 2, fill=row) for layer in range(2) for row in range(256)]
    assert (rig.ftl.read(1, 77, 0, 2, rig.traffic) == data[256 + 77].transpose(1, 2, 0, 3, 4)).all()
    for layer in range(2):
        for row in range(255):
            rig.ftl.truncate(layer, row, 0, rig.traffic)
    assert (rig.ftl.read(0, 255, 0, 2, rig.traffic) == data[255].transpose(1, 2, 0, 3, 4)).all()
    for layer in range(2):
        rig.ftl.truncate(layer, 255, 0, rig.traffic)
    assert rig.free.count == blocks


def test_too_large_a_cache_is_refused_in_bytes() -> None:
    with pytest.raises(
        CapacityError,
        match=r"2 sequences x 4000 tokens has 1024000 bytes and takes .* has 262144 bytes\. Lower the batch",
    ):
        Rig(dataclasses.replace(TASK, max_len=4000))


def test_full_flash_is_an_error_and_writes_nothing() -> None:
    rig = Rig()
    rig.share.release()
    rig.free.take(np.repeat(np.arange(8), 62))  # leaves 2 of the 64 blocks of each unit: 128 pages
    kept = rig.append(0, 0, 16)
    with pytest.raises(CapacityError, match="flash is full"):
        rig.append(1, 0, 20)
    assert rig.ftl.num_groups.tolist() == [[16, 0], [0, 0]]
    assert rig.nand.pages_programmed == 64
    rig.append(1, 0, 16)
    assert (rig.ftl.read(0, 0, 0, 16, rig.traffic) == kept.transpose(1, 2, 0, 3, 4)).all()


def test_what_a_task_reserved_is_kept_back_from_others() -> None:
    rig = Rig()
    reserved = rig.share.reserved
    assert rig.free.promised.tolist() == reserved.tolist()
    assert reserved.max() == 6  # 2 streams x 20 pages of each unit, 8 to a block
    with pytest.raises(
        CapacityError,
        match="59 blocks wanted in one plane, 64 erased ones, 6 of them reserved by other tasks",
    ):
        rig.free.take(np.repeat(np.arange(8), 59))
    rig.free.take(np.repeat(np.arange(8), 58))
    for layer in range(2):
        for row in range(2):
            rig.append(layer, row, 20)
    assert rig.free.promised.sum() == 0
    assert rig.share.held.tolist() == rig.share.claim.tolist() == reserved.tolist()
    rig.ftl.truncate(0, 0, 0, rig.traffic)
    rig.ftl.truncate(1, 0, 0, rig.traffic)
    assert (rig.free.promised + rig.share.held).tolist() == reserved.tolist()
    assert rig.share.held.max() == 3


def test_a_task_may_take_more_than_it_reserved_as_long_as_nobody_did() -> None:
    """Pages that stay, one in every block, keep the blocks."""
    rig = Rig()
    for _ in range(12):
        rig.append(0, 0, 1)
        rig.append(1, 0, 14)
        rig.ftl.truncate(1, 0, 0, rig.traffic)
    assert (rig.share.held > rig.share.reserved).any()
    assert (rig.free.promised == np.maximum(rig.share.reserved - rig.share.held, 0)).all()


def test_pages_dropped_again_and_again_do_not_fill_the_flash() -> None:
    rig = Rig()
    rig.append(0, 0, 19)
    for _ in range(1000):
        rig.append(0, 0, 1)
        rig.ftl.truncate(0, 0, 19, rig.traffic)
    assert rig.free.count >= rig.nand.geometry.num_blocks - 24
