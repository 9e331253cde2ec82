"""Programs that fail, blocks that wear out, and a flash that runs full of them."""

import numpy as np
import pytest

from runtime.csd import (
    Attend,
    CapacityError,
    Read,
    Reclaim,
    Write,
)

from .drives import tokens
from .failing_drives import again_and_again, become, faulty, health
from .reference import attention

pytestmark = pytest.mark.usefixtures("each_backing")

START = np.zeros(3, np.int64)


def test_data_is_intact_and_the_pages_are_elsewhere() -> None:
    drive = faulty(program_failure_per_page=0.05)
    rng = np.random.default_rng(0)
    key, value = tokens(rng, 3, 2, 40, 4), tokens(rng, 3, 2, 40, 4)
    written = drive.execute(Write(0, key, value, START), 0.0)
    report = health(drive, scan=True)
    assert report.program_failures > 0
    assert written.detail.pages_programmed == 120 + report.program_failures
    assert (report.pages_scanned, report.checksum_errors) == (120, 0)
    got = drive.execute(Read(0), 0.0).value
    assert (got[0] == key).all()
    assert (got[1] == value).all()
    drive.execute(Reclaim(), 0.0)
    report = health(drive)
    assert 0 < report.retired_blocks <= report.program_failures
    assert report.free_bytes == (512 - report.retired_blocks) * 8 * 64


def test_they_go_on_until_the_flash_is_full_and_all_stays_readable() -> None:
    drive = faulty(
        task={"batch_size": 1, "num_layers": 1},
        flash={"blocks_per_plane": 8},
        program_failure_per_page=0.3,
    )
    rng = np.random.default_rng(0)
    with pytest.raises(
        CapacityError, match=r"csd0: flash is full: .* erased ones, \d+ blocks of the drive are retired"
    ) as caught:
        again_and_again(drive, Write(0, *[tokens(rng, 1, 2, 40, 4)] * 2, START[:1]))
    assert caught.value.drive == "csd0"
    assert health(drive, scan=True).checksum_errors == 0
    lengths = drive._tasks.store(0).lengths(0)
    drive.execute(Attend(0, tokens(rng, 1, 2, 4), None, None, lengths, 0.5), 0.0)
    drive.execute(Reclaim(), 0.0)
    report = health(drive)
    assert report.free_bytes == (64 - report.retired_blocks) * 8 * 64
    assert drive._free.count == 64 - report.retired_blocks
    become(drive, program_failure_per_page=0.0)
    key = tokens(rng, 1, 2, 40, 4)
    drive.execute(Write(0, key[:, :, :8], key[:, :, :8], START[:1]), 0.0)
    assert (drive.execute(Read(0, num_tokens=8), 0.0).value[0] == key[:, :, :8]).all()


def test_a_generation_stops_with_all_its_tokens() -> None:
    drive = faulty(
        task={"batch_size": 2, "num_layers": 1, "max_len": 400},
        flash={"blocks_per_plane": 15},
        program_failure_per_page=0.15,
    )
    rng = np.random.default_rng(0)
    key = tokens(rng, 2, 2, 400, 4)
    outputs: list[np.ndarray] = []

    def generate() -> None:
        for step in range(400):
            new = key[:, :, step]
            outputs.append(drive.execute(Attend(0, new, new, new, np.full(2, step + 1), 0.5), 0.0).value)

    with pytest.raises(CapacityError, match="flash is full"):
        generate()
    done = len(outputs)
    for step, got in enumerate(outputs):
        expected = attention(key[:, :, step], key, key, np.full(2, step + 1), 0.5)
        np.testing.assert_allclose(got, expected, atol=1e-5)
    assert 8 < done < 400
    got = drive.execute(Read(0), 0.0).value
    assert (got[0][:, :, :done] == key[:, :, :done]).all()
    assert not got[0][:, :, done:].any()
    report = health(drive, scan=True)
    assert report.checksum_errors == 0
    drive.execute(Reclaim(rows=np.array([0])), 0.0)
    assert (drive.execute(Read(0, rows=np.array([1])), 0.0).value[1][0, :, :done] == key[1, :, :done]).all()


def test_a_write_that_fails_leaves_earlier_sequences_and_nothing_of_its_own() -> None:
    drive = faulty(
        task={"num_layers": 1}, flash={"blocks_per_plane": 5}, program_failure_per_page=0.3, seed=5
    )
    key = tokens(np.random.default_rng(0), 3, 2, 39, 4)
    with pytest.raises(CapacityError, match="flash is full"):
        drive.execute(Write(0, key, key, START), 0.0)
    lengths = drive._tasks.store(0).lengths(0).tolist()
    assert lengths in ([39, 0, 0], [39, 39, 0])
    got = drive.execute(Read(0), 0.0).value[0]
    for row, length in enumerate(lengths):
        assert (got[row, :, :length] == key[row, :, :length]).all()


def test_blocks_at_their_rated_erases_are_retired_until_nothing_is_left() -> None:
    drive = faulty(
        task={"batch_size": 1, "num_layers": 1}, flash={"rated_pe_cycles": 3, "blocks_per_plane": 4}
    )
    key = tokens(np.random.default_rng(0), 1, 2, 40, 4)
    free: list[int] = []

    def wear_out() -> None:
        for _ in range(1000):
            drive.execute(Write(0, key, key, START[:1]), 0.0)
            drive.execute(Reclaim(), 0.0)
            free.append(health(drive).free_bytes)

    with pytest.raises(CapacityError, match="0 erased ones, 32 blocks of the drive are retired; reclaim"):
        wear_out()
    assert free == sorted(free, reverse=True)
    report = health(drive)
    assert (report.wear_max, report.retired_blocks, report.free_bytes) == (3, 32, 0)


def test_blocks_that_come_worn_are_retired_at_their_next_erase() -> None:
    drive = faulty(task={"batch_size": 1, "num_layers": 1}, flash={"blocks_per_plane": 8}, worn_blocks=0.5)
    report = health(drive)
    assert (report.wear_max, report.wear_mean, report.retired_blocks) == (2999, 2999 / 2, 0)
    key = tokens(np.random.default_rng(0), 1, 2, 40, 4)
    for _ in range(30):
        drive.execute(Write(0, key, key, START[:1]), 0.0)
        drive.execute(Reclaim(), 0.0)
    assert health(drive).retired_blocks <= 32
    drive.execute(Write(0, key, key, START[:1]), 0.0)
    assert (drive.execute(Read(0), 0.0).value[0] == key).all()
