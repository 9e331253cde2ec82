"""K by channel: pages hold exactly K, groups are made when whole, and what that reads and programs is counted."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from runtime.csd import Attend, Drive, DriveError, Health, Read, Reclaim, Write
from runtime.csd.channel_copy import by_channel
from runtime.csd.store import KvStore
from runtime.csd.task import Task

from .drives import configured, spec, tokens
from .reference import attention

WITH_COPY: dict[str, Any] = {"channel_group": 2, "max_len": 40}
"""Channel pages of 2 channels x 8 float32 tokens; 2 token pages of 4 tokens each for a channel group."""


def store_of(drive: Drive) -> KvStore:
    return drive._tasks.store(0)


def keys_by_channel(drive: Drive, layer: int, row: int) -> np.ndarray:
    """Returns K of a sequence as its channel pages hold it, ``[kv_heads, tokens, head_size]``."""
    store = store_of(drive)
    task, ftl = store.task, store.ftl
    table = ftl.channel_table(layer)[row][:, :, : int(ftl.num_channel_groups[layer, row])]
    words = drive._nand.read(table.reshape(-1)).view(task.dtype)[
        :, : task.channel_group * task.channel_tokens
    ]
    pages = words.reshape(*table.shape, task.channel_group, task.channel_tokens)
    heads = pages.transpose(0, 2, 4, 1, 3)  # head, channel group, token, page, channel
    return heads.reshape(task.kv_heads(layer), -1, task.head_size)


@pytest.mark.parametrize("channel_group", [2, 4])
@pytest.mark.parametrize("writes", [[40], [8, 8], [3, 13, 1], [7, 1], [1] * 20, [5, 20]])
def test_channel_pages_hold_k_however_it_was_written(channel_group: int, writes: list[int]) -> None:
    drive, rng = configured(channel_group=channel_group, batch_size=2), np.random.default_rng(0)
    key, value = tokens(rng, 1, 2, 40, 4), tokens(rng, 1, 2, 40, 4)
    done = 0
    for count in writes:
        piece = slice(done, done + count)
        drive.execute(
            Write(1, key[:, :, piece], value[:, :, piece], np.array([done]), rows=np.array([1])), 0.0
        )
        done += count
    task = store_of(drive).task
    whole = done // task.channel_tokens
    assert store_of(drive).ftl.num_channel_groups.tolist() == [[0, 0], [0, whole]]
    found = keys_by_channel(drive, 1, 1)
    assert (found == key[0, :, : whole * task.channel_tokens]).all()
    table = store_of(drive).ftl.channel_table(1)
    assert (table[1, :, :, whole:] == -1).all()
    assert (table[0] == -1).all()
    np.testing.assert_allclose(
        store_of(drive).value_sums(1)[1], value[0, :, :done].sum(axis=1, dtype=np.float64), atol=1e-5
    )


@pytest.mark.parametrize("dtype", [np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16), np.dtype(np.float32)])
@pytest.mark.parametrize(("head_size", "channel_group"), [(6, 2), (12, 4), (8, 8), (4, 4)])
def test_every_dtype_and_page_that_a_head_does_not_fill(
    dtype: Any, head_size: int, channel_group: int
) -> None:
    """Heads of 6 or 12 elements: groups of tokens and channel groups do not begin together."""
    drive = configured(
        dtype=dtype, head_size=head_size, channel_group=channel_group, batch_size=1, max_len=100
    )
    rng = np.random.default_rng(head_size)
    key, value = (
        tokens(rng, 1, 2, 100, head_size, dtype=dtype),
        tokens(rng, 1, 2, 100, head_size, dtype=dtype),
    )
    for first, last in ((0, 29), (29, 30), (30, 77), (77, 100)):
        command = Write(0, key[:, :, first:last], value[:, :, first:last], np.array([first]))
        drive.execute(command, 0.0)
        store = store_of(drive)
        in_flash = int(store.ftl.num_groups[0, 0]) * store.task.group_tokens
        assert store.ftl.num_channel_groups[0, 0] == in_flash // store.task.channel_tokens
    found = keys_by_channel(drive, 0, 0)
    assert (found == key[0, :, : found.shape[1]]).all()
    assert drive.execute(Health(scan=True), 0.0).value.checksum_errors == 0


def test_the_layout_channel_after_channel() -> None:
    """One head of 4 channels, 2 to a page: a page is the first channel of 8 tokens, then the second."""
    task = Task(1, 1, 1, 4, np.dtype(np.float32), 1, 8, page_bytes=64, channel_group=2)
    key = np.arange(32, dtype=np.float32).reshape(1, 8, 4)  # element 4 t + c
    pages = by_channel(task, key.view(np.uint8)).view(np.float32)
    assert pages.shape == (1, 1, 2, 16)
    assert pages[0, 0, 0].tolist() == [*range(0, 32, 4), *range(1, 32, 4)]
    assert pages[0, 0, 1].tolist() == [*range(2, 32, 4), *range(3, 32, 4)]


def test_a_write_that_brings_whole_groups_reads_nothing_back() -> None:
    drive, rng = configured(**WITH_COPY, batch_size=1), np.random.default_rng(0)
    key = tokens(rng, 1, 2, 40, 4)
    done = drive.execute(Write(0, key[:, :, :16], key[:, :, :16], np.array([0])), 0.0)
    assert (done.detail.pages_read, done.detail.background_pages_read) == (0, 0)
    assert done.detail.pages_programmed == 4 * 4 + 2 * 2 * 2  # 4 groups of 4 lanes, 2 x 2 heads x 2 pages


def test_decode_reads_k_back_in_the_background_when_a_group_is_whole() -> None:
    """The answer comes as early as from a drive without the copy."""
    drive, plain = configured(**WITH_COPY, batch_size=2), configured(batch_size=2)
    rng = np.random.default_rng(0)
    key, value = tokens(rng, 2, 2, 40, 4), tokens(rng, 2, 2, 40, 4)
    for each in (drive, plain):
        each.execute(Write(0, key[:, :, :6], value[:, :, :6], np.zeros(2, int)), 0.0)
    for t in range(6, 17):
        query, lengths = tokens(rng, 2, 2, 4), np.full(2, t + 1)
        command = Attend(0, query, key[:, :, t], value[:, :, t], lengths, 0.5)
        done = drive.execute(command, 10.0 * t)
        np.testing.assert_allclose(done.value, attention(query, key, value, lengths, 0.5), atol=1e-5)
        # 2 sequences x 2 heads: 2 token pages of K each, and 2 channel pages each beside the pages of the group.
        whole, full = (t + 1) % 8 == 0, (t + 1) % 4 == 0
        assert done.detail.background_pages_read == (8 if whole else 0)
        assert done.detail.pages_programmed == (8 if full else 0) + (8 if whole else 0)
        assert done.detail.pages_read == 2 * 2 * 2 * (t // 4)
        assert done.end_s == plain.execute(command, 10.0 * t).end_s
    assert drive.execute(Health(), 0.0).value.pages_read == 2 * 8 + sum(8 * (t // 4) for t in range(6, 17))
    for row in range(2):
        assert (keys_by_channel(drive, 0, row) == key[row, :, :16]).all()


def test_truncation_drops_channel_groups_that_are_not_whole_and_sums_again() -> None:
    drive, rng = configured(**WITH_COPY, batch_size=1), np.random.default_rng(0)
    key, value = tokens(rng, 1, 2, 40, 4), tokens(rng, 1, 2, 40, 4)
    drive.execute(Write(0, key, value, np.array([0])), 0.0)
    store = store_of(drive)
    empty = np.zeros((1, 2, 0, 4), np.float32)
    for length, groups in ((39, 4), (32, 4), (31, 3), (17, 2), (9, 1), (7, 0)):
        drive.execute(Write(0, empty, empty, np.array([length])), 0.0)
        assert store.ftl.num_channel_groups[0, 0] == groups
        assert (store.ftl.channel_table(0)[0, :, :, groups:] == -1).all()
        assert (keys_by_channel(drive, 0, 0) == key[0, :, : groups * 8]).all()
        np.testing.assert_allclose(
            store.value_sums(0)[0], value[0, :, :length].sum(axis=1, dtype=np.float64), atol=1e-5
        )
    drive.execute(Write(0, key[:, :, 7:], value[:, :, 7:], np.array([7])), 0.0)
    assert (keys_by_channel(drive, 0, 0) == key[0]).all()
    drive.execute(Reclaim(), 0.0)
    assert not store.value_sums(0).any()
    assert not store.ftl.num_channel_groups.any()
    assert drive.execute(Health(scan=True), 0.0).value.pages_scanned == 0
    assert drive.execute(Health(), 0.0).value.free_bytes == 4 * 2 * 64 * 8 * 64


def test_the_second_copy_takes_half_as_much_again() -> None:
    rng = np.random.default_rng(0)
    programmed = []
    for changes in ({}, WITH_COPY):
        drive = configured(**changes)
        key = tokens(rng, 3, 2, 40, 4)
        drive.execute(Write(0, key, key, np.zeros(3, int)), 0.0)
        programmed.append(drive.execute(Health(), 0.0).value.bytes_programmed)
        assert (drive.execute(Read(0), 0.0).value[0] == key).all()
    assert programmed[1] == 1.5 * programmed[0]


def test_flash_and_drive_memory_are_counted_with_the_copy() -> None:
    plain = Task(2, 3, 3, 128, np.dtype(np.float16), 4, 1000, page_bytes=4096)
    task = Task(2, 3, 3, 128, np.dtype(np.float16), 4, 1000, page_bytes=4096, channel_group=8)
    assert (task.group_tokens, task.channel_tokens, task.channel_pages) == (16, 256, 16)
    assert (task.groups_per_sequence, task.channel_groups_per_sequence) == (63, 3)
    heads = 2 * 3 * 4
    assert plain.kv_bytes == heads * 2 * 1000 * 256
    assert task.kv_bytes == plain.kv_bytes + heads * 768 * 256
    assert plain.mapping_bytes == heads * 2 * 63 * 4
    assert task.mapping_bytes == plain.mapping_bytes + heads * 16 * 3 * 4
    assert (plain.value_sum_bytes, task.value_sum_bytes) == (0, heads * 128 * 4)


@pytest.mark.parametrize("channel_group", [0, 1, 3, 8, 16])
def test_channel_groups_that_no_page_has(channel_group: int) -> None:
    with pytest.raises(
        DriveError, match=f"channel_group is {channel_group} and a head has 4 channels; give 2, 4"
    ):
        configured(channel_group=channel_group)


def test_what_a_task_without_the_copy_has_not() -> None:
    drive = configured()
    store = store_of(drive)
    assert store.ftl.channel_table(0).shape == (3, 2, 0, 0)
    with pytest.raises(
        DriveError,
        match="sums of V are kept along with channel pages only, and layer 0 has none; configure a channel",
    ):
        store.value_sums(0)
    with pytest.raises(DriveError, match="K is kept by token only; configure a channel_group"):
        assert store.task.channel_tokens


def test_channel_pages_are_spread_over_all_channels() -> None:
    drive = configured(spec(blocks_per_plane=512), channel_group=2, max_len=400, head_size=16, num_kv_heads=1,
                       num_query_heads=1, batch_size=1, num_layers=1)  # fmt: skip
    key = np.zeros((1, 1, 400, 16), np.float32)
    drive.execute(Write(0, key, key, np.array([0])), 0.0)
    table = store_of(drive).ftl.channel_table(0)[0, 0]
    geometry = drive._nand.geometry
    for lane in table:
        channels = [geometry.address(int(ppn)).channel for ppn in lane]
        assert channels == [(channels[0] + group) % 4 for group in range(50)]
    assert geometry.pages_by_channel(table[:, 0]).tolist() == [2, 2, 2, 2]
