"""Several tasks on one drive: each keeps its own cache, its reservation, and nothing of the others."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from runtime.csd import (
    Attend,
    CapacityError,
    Configure,
    Drive,
    DriveError,
    Health,
    Identify,
    Read,
    Reclaim,
    Release,
    Write,
)

from .drives import SPEC, new_drive, spec, tokens
from .reference import attention

pytestmark = pytest.mark.usefixtures("each_backing")

TASK = Configure(2, 2, 2, 4, np.dtype(np.float32), 3, 40)
DRAM_BYTES = 2 * 3 * 2 * 2 * (64 + 10 * 4)  # lanes x (a page in the buffer, 10 entries for pages of 4 tokens)


def drive_with(*numbers: int, drive_spec: Any = SPEC) -> Drive:
    drive = new_drive(drive_spec)
    for number in numbers:
        drive.execute(dataclasses.replace(TASK, task=number), 0.0)
    return drive


def fill(drive: Drive, task: int, length: int = 40) -> np.ndarray:
    key = tokens(np.random.default_rng(task), 3, 2, length, 4)
    for layer in range(2):
        drive.execute(Write(layer, key, -key, np.zeros(3, int), task=task), 0.0)
    return key


def test_tasks_keep_apart() -> None:
    drive = drive_with(0, 3)
    drive.execute(Configure(1, 1, 2, 8, np.dtype(np.float16), 2, 24, channel_group=4, task=1), 0.0)
    keys = {task: fill(drive, task) for task in (0, 3)}
    other = tokens(np.random.default_rng(9), 2, 1, 23, 8, dtype=np.float16)
    drive.execute(Write(0, other, other, np.zeros(2, int), task=1), 0.0)
    drive.execute(Reclaim(rows=np.array([1])), 0.0)
    keys[0][1] = 0
    for task, key in keys.items():
        assert (drive.execute(Read(1, task=task), 0.0).value[0] == key).all()
    query, lengths = tokens(np.random.default_rng(1), 2, 2, 8), np.full(2, 23)
    got = drive.execute(Attend(0, query, None, None, lengths, 0.5, task=1), 0.0).value
    np.testing.assert_allclose(got, attention(query, other, other, lengths, 0.5), atol=1e-5)
    assert drive.execute(Health(scan=True), 0.0).value.misdirected_pages == 0


def test_configuring_replaces_that_task_alone() -> None:
    drive = drive_with(0, 1)
    kept = fill(drive, 1)
    fill(drive, 0)
    drive.execute(dataclasses.replace(TASK, max_len=80), 0.0)
    assert not drive.execute(Read(0), 0.0).value[0].any()
    assert (drive.execute(Read(0, task=1), 0.0).value[0] == kept).all()
    assert [identity.task.max_len for identity in drive.execute(Identify(), 0.0).value.tasks] == [80, 40]


def test_reclaim_is_of_one_task_unless_it_says_all() -> None:
    drive = drive_with(0, 1)
    fill(drive, 0)
    kept = fill(drive, 1)
    drive.execute(Reclaim(), 0.0)
    assert (drive.execute(Read(0, task=1), 0.0).value[0] == kept).all()
    fill(drive, 0)
    drive.execute(Reclaim(layer=1, task=None), 0.0)
    for task in (0, 1):
        assert drive.execute(Read(0, task=task), 0.0).value[0].any()
        assert not drive.execute(Read(1, task=task), 0.0).value[0].any()
    drive.execute(Reclaim(task=None), 0.0)
    health = drive.execute(Health(), 0.0).value
    assert health.free_bytes == health.capacity_bytes
    new_drive(SPEC).execute(Reclaim(task=None), 0.0)  # nothing to drop, nothing wrong


def test_release_gives_everything_back() -> None:
    drive = drive_with(0, 1)
    fill(drive, 1)
    drive.execute(Release(1), 0.0)
    alone = drive.execute(Health(), 0.0).value
    assert alone.reserved_bytes == drive_with(0).execute(Health(), 0.0).value.reserved_bytes
    drive.execute(Release(0), 0.0)
    health = drive.execute(Health(), 0.0).value
    assert (
        health.reserved_bytes,
        health.valid_bytes,
        health.dram_buffer_bytes,
        health.dram_mapping_bytes,
    ) == (0,) * 4
    assert health.free_bytes == health.capacity_bytes
    assert drive.execute(Identify(), 0.0).value.tasks == ()
    with pytest.raises(DriveError, match="csd0: no KV cache is configured; execute Configure first"):
        drive.execute(Release(0), 0.0)


def test_flash_that_another_task_reserved_is_not_there() -> None:
    """Most of a flash of 12 blocks a plane is reserved by two tasks, though neither holds a page."""
    small = spec(blocks_per_plane=12)
    drive = drive_with(0, 1, drive_spec=small)
    reserved = [identity.reserved_bytes for identity in drive.execute(Identify(), 0.0).value.tasks]
    assert 0 < sum(reserved) == drive.execute(Health(), 0.0).value.reserved_bytes <= 4 * 2 * 12 * 8 * 64
    message = rf"takes .* the flash has 49152 bytes, of which task 0 has {reserved[0]}, task 1 has {reserved[1]}\. Release"
    with pytest.raises(CapacityError, match=message):
        drive.execute(dataclasses.replace(TASK, task=2), 0.0)
    kept = fill(drive, 0)
    fill(drive, 1)
    drive.execute(dataclasses.replace(TASK, task=1), 0.0)  # in the place of what it has itself
    with pytest.raises(CapacityError, match="Release a task"):
        drive.execute(dataclasses.replace(TASK, task=1, max_len=80), 0.0)
    assert [identity.task.max_len for identity in drive.execute(Identify(), 0.0).value.tasks] == [40, 40]
    drive.execute(Release(1), 0.0)
    drive.execute(dataclasses.replace(TASK, task=2), 0.0)
    fill(drive, 2)
    assert (drive.execute(Read(0), 0.0).value[0] == kept).all()


def test_drive_memory_that_another_task_reserved_is_not_there() -> None:
    drive = drive_with(0, 1, drive_spec=spec(dram_bytes=2 * DRAM_BYTES))
    with pytest.raises(
        CapacityError,
        match=r"csd0: drive memory for 2 layers x 3 sequences x 2 heads is 2496 bytes \(group buffer 1536, mapping "
        r"tables 960, sums of V 0\); the drive has 4992 bytes of DRAM, of which task 0 has 2496, task 1 has 2496\. Release",
    ):
        drive.execute(dataclasses.replace(TASK, task=2), 0.0)
    drive.execute(dataclasses.replace(TASK, task=1), 0.0)
    drive.execute(Release(0), 0.0)
    drive.execute(dataclasses.replace(TASK, task=2), 0.0)


def test_drive_memory_is_counted_to_the_byte() -> None:
    drive_with(0, drive_spec=spec(dram_bytes=DRAM_BYTES))
    with pytest.raises(
        CapacityError, match=r"the drive has 2495 bytes of DRAM\. Lower the batch, use smaller pages"
    ):
        drive_with(0, drive_spec=spec(dram_bytes=DRAM_BYTES - 1))
    with pytest.raises(
        CapacityError, match=r"is 3168 bytes \(group buffer 1536, mapping tables 1440, sums of V 192\)"
    ):
        new_drive(spec(dram_bytes=DRAM_BYTES)).execute(dataclasses.replace(TASK, channel_group=2), 0.0)


def test_health_sums_over_tasks() -> None:
    drive = drive_with(0, 1)
    drive.execute(dataclasses.replace(TASK, channel_group=2, task=2), 0.0)
    for task in (0, 1, 2):
        fill(drive, task, 39)
    health = drive.execute(Health(scan=True), 0.0).value
    host_bytes = 2 * 3 * 2 * 39 * 2 * 16
    token_pages, channel_pages = 2 * 3 * 2 * 9 * 2, 2 * 3 * 2 * 2 * 4
    assert health.bytes_written_by_host == 3 * host_bytes
    assert health.bytes_due == 3.5 * host_bytes
    assert health.pages_programmed == health.pages_scanned == 3 * token_pages + channel_pages
    assert health.valid_bytes == health.bytes_programmed == 64 * health.pages_programmed
    assert health.utilisation == health.valid_bytes / health.capacity_bytes
    assert health.buffered_tokens == 3 * 2 * 3 * 3
    assert health.buffered_bytes == 3 * 2 * 3 * 2 * 3 * 2 * 16
    assert health.dram_buffer_bytes == 3 * 1536
    assert health.dram_mapping_bytes == 3 * 960 + 480
    assert health.dram_value_sum_bytes == 192
    assert health.retired_blocks == 0


def test_the_second_copy_is_no_amplification() -> None:
    drive = new_drive(SPEC)
    drive.execute(dataclasses.replace(TASK, channel_group=2), 0.0)
    assert drive.execute(Health(), 0.0).value.placed_amplification == 1.0
    fill(drive, 0)
    health = drive.execute(Health(), 0.0).value
    assert (health.write_amplification, health.placed_amplification) == (1.5, 1.0)


@pytest.mark.parametrize(
    "command",
    [
        dataclasses.replace(TASK, task=-1),
        Write(
            0,
            np.zeros((1, 2, 1, 4), np.float32),
            np.zeros((1, 2, 1, 4), np.float32),
            np.zeros(1, int),
            task=7,
        ),
        Attend(0, np.zeros((1, 2, 4)), None, None, np.zeros(1, int), 1.0, task=7),
        Read(0, task=7),
        Reclaim(task=7),
        Release(7),
    ],
    ids=lambda command: type(command).__name__,
)
def test_tasks_that_do_not_exist(command: Any) -> None:
    message = (
        "task is -1; give a number of at least 0"
        if isinstance(command, Configure)
        else r"task 7 is not configured; execute Configure\(task=7\) first, or use one of tasks 0, 3"
    )
    with pytest.raises(DriveError, match="csd0: " + message):
        drive_with(0, 3).execute(command, 0.0)
