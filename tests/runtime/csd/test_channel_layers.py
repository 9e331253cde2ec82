"""A task of which some layers keep K by channel, too: each layer costs and answers as in a task of its kind."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from cost_models.hardware import FaultSpec
from runtime.csd import (
    Attend,
    CapacityError,
    Configure,
    Drive,
    DriveError,
    Health,
    Identify,
    MediaError,
    Read,
    Reclaim,
    Sparse,
    Write,
)

from .drives import configured, new_drive, spec, tokens
from .reference import attention

pytestmark = pytest.mark.usefixtures("each_backing")

MIXED = Configure(
    num_layers=4,
    num_kv_heads=2,
    num_query_heads=2,
    head_size=4,
    dtype=np.dtype(np.float32),
    batch_size=3,
    max_len=40,
    layer_kv_heads=(2, 1, 2, 2),
    layer_rows=(3, 2, 1, 3),
    channel_group=2,
    layer_by_channel=(False, True, True, False),
)
"""6, 2, 2 and 6 KV heads of all sequences; pages of 4 tokens, channel groups of 8 tokens in 2 pages."""

HEADS = (6, 2, 2, 6)
ROWS = np.arange(3)


def drive_of(task: Configure = MIXED, drive_spec: Any = None) -> Drive:
    drive = new_drive(drive_spec or spec())
    drive.execute(task, 0.0)
    return drive


def pages(length: int) -> list[int]:
    """Returns the pages of each layer in closed form: K and V of whole groups, and of K whole channel groups."""
    copied = (0, 1, 1, 0)
    return [
        heads * (2 * (length // 4) + copy * 2 * (length // 8))
        for heads, copy in zip(HEADS, copied, strict=True)
    ]


def kv(layer: int, length: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Returns K and V of all sequences of a layer, ``[rows, kv_heads, length, 4]``."""
    rng = np.random.default_rng(layer)
    shape = (MIXED.layer_rows or ())[layer], (MIXED.layer_kv_heads or ())[layer], length, 4
    return tokens(rng, *shape), tokens(rng, *shape)


def fill(drive: Drive, length: int = 40) -> None:
    for layer in range(4):
        key, value = kv(layer)
        start = np.zeros(len(key), int)
        drive.execute(Write(layer, key[:, :, :length], value[:, :, :length], start), 0.0)


@pytest.mark.parametrize("length", [7, 8, 23, 40])
def test_every_layer_programs_its_own_pages(length: int) -> None:
    """Written at once, or token by token: the same pages, and what is due is what is programmed once all are full."""
    whole, stepped = drive_of(), drive_of()
    fill(whole, length)
    for layer in range(4):
        key, value = kv(layer)
        count = len(key)
        programmed = 0
        for at in range(length):
            command = Attend(
                layer, key[:, :, at], key[:, :, at], value[:, :, at], np.full(count, at + 1), 0.5
            )
            programmed += stepped.execute(command, 0.0).detail.pages_programmed
        assert programmed == pages(length)[layer]
    for drive in (whole, stepped):
        health = drive.execute(Health(scan=True), 0.0).value
        assert health.pages_programmed == health.pages_scanned == sum(pages(length))
        assert health.valid_bytes == 64 * sum(pages(length))
        assert health.checksum_errors == health.misdirected_pages == 0
        host_bytes = 2 * 16 * length * sum(HEADS)
        assert health.bytes_written_by_host == host_bytes
        assert health.bytes_due == host_bytes + 16 * length * (2 + 2)  # K of two layers with 2 heads each
        if length % 8 == 0:
            assert health.placed_amplification == 1.0
            assert health.write_amplification == 1 + 0.5 * (2 + 2) / sum(HEADS)


def test_every_layer_reads_and_attends() -> None:
    drive = drive_of()
    fill(drive, 39)
    for layer in range(4):
        key, value = kv(layer)
        count = len(key)
        found = drive.execute(Read(layer, num_tokens=39), 0.0).value
        assert (found[0] == key[:, :, :39]).all()
        assert (found[1] == value[:, :, :39]).all()
        query, lengths = tokens(np.random.default_rng(9), *key.shape[:2], 4), np.full(count, 40)
        command = Attend(layer, query, key[:, :, 39], value[:, :, 39], lengths, 0.5)
        got = drive.execute(command, 0.0).value
        np.testing.assert_allclose(got, attention(query, key, value, lengths, 0.5), atol=1e-5)


@pytest.mark.parametrize("num_tokens", [12, 40])
def test_sparse_attention_is_that_of_a_task_with_all_copies(num_tokens: int) -> None:
    """Where k covers the context, it is exact attention as well."""
    mixed, full = drive_of(), drive_of(dataclasses.replace(MIXED, layer_by_channel=None))
    for drive in (mixed, full):
        fill(drive)
    for layer in (1, 2):
        key, value = kv(layer)
        count = len(key)
        query, lengths = tokens(np.random.default_rng(9), *key.shape[:2], 4), np.full(count, 40)
        sparse = Sparse(2, np.full(count, num_tokens), np.full(count, 3), mean_value=True)
        command = Attend(layer, query, None, None, lengths, 0.5, sparse=sparse)
        found, expected = mixed.execute(command, 0.0), full.execute(command, 0.0)
        assert (found.value == expected.value).all()
        assert found.detail.pages_read == expected.detail.pages_read
        assert found.detail.pages_step_one == expected.detail.pages_step_one
        exact = attention(query, key, value, lengths, 0.5)
        assert np.allclose(found.value, exact, atol=1e-5) == (num_tokens == 40)


def test_a_layer_without_the_copy_refuses_sparse_attention_and_sums_of_v() -> None:
    drive = drive_of()
    fill(drive)
    query, lengths = np.zeros((3, 2, 4), np.float32), np.full(3, 40)
    command = Attend(3, query, None, None, lengths, 0.5, sparse=Sparse(2, lengths // 4, lengths // 8, True))
    with pytest.raises(
        DriveError,
        match="csd0: sparse attention reads K by channel, and layer 3 of this cache keeps it by token only; set that layer "
        "in layer_by_channel, or attend without sparse",
    ):
        drive.execute(command, 0.0)
    store = drive._tasks.store(0)
    with pytest.raises(
        DriveError,
        match="kept along with channel pages only, and layer 3 has none; configure a channel_group",
    ):
        store.value_sums(3)
    assert store.ftl.channel_table(3).shape == (3, 2, 0, 5)
    assert drive.execute(Health(scan=True), 0.0).value.pages_scanned == sum(pages(40))


@pytest.mark.parametrize("length", [33, 32, 17, 9, 7, 0])
def test_truncation_drops_the_pages_of_each_layer(length: int) -> None:
    drive = drive_of()
    fill(drive)
    drive.execute(Reclaim(tokens=(length, 40)), 0.0)
    store = drive._tasks.store(0)
    assert store.ftl.num_channel_groups[1:3].max(axis=1).tolist() == [length // 8] * 2
    assert not store.ftl.num_channel_groups[[0, 3]].any()
    assert drive.execute(Health(scan=True), 0.0).value.pages_scanned == sum(pages(length))
    for layer in (1, 2):
        wanted = kv(layer)[1][:, :, :length].sum(axis=2, dtype=np.float64)
        np.testing.assert_allclose(store.value_sums(layer), wanted, atol=1e-5)
    fill(drive)
    assert (drive.execute(Read(3), 0.0).value[0] == kv(3)[0]).all()
    assert drive.execute(Health(scan=True), 0.0).value.pages_scanned == sum(pages(40))


@pytest.mark.parametrize("end", [3, 8, 21, 39])
def test_a_reclaimed_front_frees_the_pages_of_each_layer(end: int) -> None:
    drive = drive_of()
    fill(drive)
    background = [
        drive.execute(Reclaim(layer, tokens=(0, end)), 0.0).detail.background_pages_read for layer in range(4)
    ]
    assert background == [0, *[2 * (10 - end // 4)] * 2, 0]  # V is summed again where there is a sum
    left = sum(pages(40)) - sum(pages(end))
    assert drive.execute(Health(scan=True), 0.0).value.pages_scanned == left


def test_only_layers_with_a_sum_of_v_need_what_stays() -> None:
    drive = drive_of(drive_spec=spec(faults=FaultSpec()))
    fill(drive)
    for layer in (1, 3):
        drive._lost._lose(drive._tasks.store(0).ftl.table(layer)[1, 0, 1, [2]])
    with pytest.raises(MediaError, match="loses layer 1, sequence 1, tokens 8 to 11"):
        drive.execute(Reclaim(1, tokens=(0, 8)), 0.0)
    drive.execute(Reclaim(3, tokens=(0, 8)), 0.0)
    with pytest.raises(MediaError, match="loses layer 3, sequence 1, tokens 8 to 11"):
        drive.execute(Read(3, first=np.full(3, 8)), 0.0)


def test_room_is_reserved_for_the_copies_that_there_are() -> None:
    """Drive memory to the byte, and flash in which a copy of every layer would not fit."""
    buffer_bytes, sum_bytes = sum(HEADS) * 2 * 64, (2 + 2) * 16
    mapping_bytes = 4 * (sum(HEADS) * 2 * 10 + (2 + 2) * 2 * 5)
    dram_bytes = buffer_bytes + mapping_bytes + sum_bytes
    drive = drive_of(drive_spec=spec(dram_bytes=dram_bytes))
    health = drive.execute(Health(), 0.0).value
    assert health.dram_buffer_bytes == buffer_bytes
    assert health.dram_mapping_bytes == mapping_bytes
    assert health.dram_value_sum_bytes == sum_bytes
    with pytest.raises(CapacityError, match=rf"mapping tables {mapping_bytes}, sums of V {sum_bytes}\)"):
        drive_of(drive_spec=spec(dram_bytes=dram_bytes - 1))

    (identity,) = drive.execute(Identify(), 0.0).value.tasks
    assert identity.task.kv_bytes == 64 * sum(pages(40))
    tight = spec(blocks_per_plane=7)
    fill(drive_of(drive_spec=tight))
    with pytest.raises(
        CapacityError, match=r"has 30720 bytes .* the flash has 28672 bytes\. Lower the batch"
    ):
        drive_of(dataclasses.replace(MIXED, layer_by_channel=None), tight)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"layer_by_channel": (True,), "channel_group": 2},
            r"layer_by_channel is \[True\] and channel_group is 2; give one truth value for each of 2 layers along with a",
        ),
        (
            {"layer_by_channel": (True, False)},
            r"layer_by_channel is \[True, False\] and channel_group is None; .*, or None for all layers alike",
        ),
    ],
)
def test_layers_that_no_copy_can_have(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DriveError, match=message):
        configured(**changes)
