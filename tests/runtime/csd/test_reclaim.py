"""Reclaim by range: what goes, what stays readable, and that nothing is copied."""

from typing import Any

import numpy as np
import pytest

from runtime.csd import Attend, Drive, DriveError, Health, Read, Reclaim, Write

from .drives import configured, tokens
from .reference import attention


def filled(length: int = 30, **changes: Any) -> tuple[Drive, np.ndarray, np.ndarray]:
    """Returns a drive with ``length`` tokens of 3 sequences in both layers, 4 tokens a page, and its K and V."""
    drive, rng = configured(**changes), np.random.default_rng(0)
    key, value = tokens(rng, 3, 2, 40, 4), tokens(rng, 3, 2, 40, 4)
    for layer in range(2):
        drive.execute(Write(layer, key, value, np.zeros(3, int), np.full(3, length)), 0.0)
    return drive, key, value


@pytest.mark.parametrize("channel_group", [None, 2])
@pytest.mark.parametrize("end", range(1, 30))
def test_a_range_at_the_front_frees_whole_pages_and_keeps_positions(
    end: int, channel_group: int | None
) -> None:
    drive, key, value = filled(channel_group=channel_group)
    before = drive.execute(Health(), 0.0).value
    done = drive.execute(Reclaim(0, np.array([1]), (0, end)), 0.0)
    assert done.detail.pages_programmed == done.detail.pages_read == 0
    health = drive.execute(Health(scan=True), 0.0).value
    assert health.pages_programmed == before.pages_programmed
    pages = 2 * 2 * (min(end, 28) // 4) + (2 * 2 * (end // 8) if channel_group else 0)
    assert before.valid_bytes - health.valid_bytes == 64 * pages
    assert health.checksum_errors == health.misdirected_pages == 0

    rows, one = np.array([1]), np.array([30])
    found = drive.execute(Read(0, one, 30, rows, first=np.array([end])), 0.0).value
    for got, whole in zip(found, (key, value), strict=True):
        assert (got[0, :, end:] == whole[1, :, end:30]).all()
        assert not got[0, :, :end].any()
    query = tokens(np.random.default_rng(1), 1, 2, 4)
    got = drive.execute(Attend(0, query, None, None, one, 0.5, window=30 - end, rows=rows), 0.0).value
    expected = attention(query, key[1:2], value[1:2], one, 0.5, window=30 - end)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    wanted = f"tokens {end - 1} to 30 of sequence 1, layer 0, are wanted, and those before {end} are reclaimed; begin at"
    with pytest.raises(DriveError, match=wanted):
        drive.execute(Attend(0, query, None, None, one, 0.5, window=31 - end, rows=rows), 0.0)
    with pytest.raises(DriveError, match=wanted):
        drive.execute(Read(0, one, 30, rows, first=np.array([end - 1])), 0.0)
    with pytest.raises(DriveError, match=f"those before {end} are reclaimed"):
        drive.execute(Attend(0, query, None, None, one, 0.5, rows=rows), 0.0)
    if channel_group:
        sums = drive._tasks.store(0).value_sums(0)[1]
        np.testing.assert_allclose(sums, value[1, :, end:30].sum(axis=1, dtype=np.float64), atol=1e-5)
    others = drive.execute(Read(0, rows=np.array([0, 2]), num_tokens=30), 0.0).value
    assert (others[0] == key[[0, 2], :, :30]).all()


@pytest.mark.parametrize("end", [3, 4, 9, 17, 29])
def test_a_sequence_goes_on_behind_a_reclaimed_front(end: int) -> None:
    """Later channel groups hold K of what is left, and pages that are gone leave zeros."""
    drive, rng = configured(channel_group=4, head_size=12, max_len=120), np.random.default_rng(0)
    key, value = tokens(rng, 3, 2, 120, 12), tokens(rng, 3, 2, 120, 12)
    drive.execute(Write(0, key[:, :, :30], value[:, :, :30], np.zeros(3, int)), 0.0)
    drive.execute(Reclaim(0, None, (0, end)), 0.0)
    for t in range(30, 70):
        lengths = np.full(3, t + 1)
        drive.execute(Attend(0, key[:, :, 0], key[:, :, t], value[:, :, t], lengths, 0.5, window=1), 0.0)
    store = drive._tasks.store(0)
    task, ftl = store.task, store.ftl
    assert (ftl.num_channel_groups[0] == ftl.num_groups[0] * task.group_tokens // task.channel_tokens).all()
    kept = key.copy()
    kept[:, :, : end // task.group_tokens * task.group_tokens] = 0
    for group in range(int(ftl.num_channel_groups[0, 0])):
        for row in range(3):
            part = slice(group * task.channel_tokens, (group + 1) * task.channel_tokens)
            for page in range(task.channel_pages):
                ppns = ftl.channel_table(0)[row, :, page, group]
                if part.stop <= end:
                    assert (ppns == -1).all()
                    continue
                data = drive._nand.read(ppns).view(np.float32)[:, : 4 * task.channel_tokens].reshape(2, 4, -1)
                channels = kept[row, :, part, 4 * page : 4 * page + 4].transpose(0, 2, 1)
                there = slice(max(end - part.start, 0), None)
                assert (data[:, :, there] == channels[:, :, there]).all()
    np.testing.assert_allclose(
        store.value_sums(0), value[:, :, end:70].sum(axis=2, dtype=np.float64), atol=1e-4
    )


@pytest.mark.parametrize("first", [0, 1, 4, 15, 28, 29])
def test_a_range_at_the_end_makes_a_sequence_shorter(first: int) -> None:
    drive, key, value = filled()
    drive.execute(Reclaim(0, np.array([2]), (first, 30)), 0.0)
    assert drive._tasks.store(0).lengths(0).tolist() == [30, 30, first]
    found = drive.execute(Read(0), 0.0).value
    assert (found[0][2, :, :first] == key[2, :, :first]).all()
    assert not found[0][2, :, first:].any()
    drive.execute(
        Write(0, key[2:, :, first:], value[2:, :, first:], np.array([first]), rows=np.array([2])), 0.0
    )
    assert (drive.execute(Read(0), 0.0).value[1][2] == value[2]).all()


def test_ranges_one_after_the_other_until_nothing_is_left() -> None:
    drive, key, value = filled()
    for step in range(0, 30, 5):
        drive.execute(Reclaim(tokens=(step, step + 5)), 0.0)
    health = drive.execute(Health(), 0.0).value
    assert (health.valid_bytes, health.buffered_tokens) == (0, 0)
    assert health.free_bytes == health.capacity_bytes
    drive.execute(Write(0, key, value, np.zeros(3, int)), 0.0)  # begins anew at token 0
    assert (drive.execute(Read(0), 0.0).value[0] == key).all()


def test_what_is_not_stored_does_not_matter() -> None:
    drive, key, _ = filled()
    drive.execute(Reclaim(tokens=(35, 40)), 0.0)
    drive.execute(Reclaim(tokens=(7, 7)), 0.0)
    assert (drive.execute(Read(0, num_tokens=30), 0.0).value[0] == key[:, :, :30]).all()
    drive.execute(Reclaim(rows=np.array([0]), tokens=(0, 8)), 0.0)
    drive.execute(Reclaim(tokens=(0, 6)), 0.0)  # gone already in sequence 0
    assert drive._tasks.store(0).first_tokens.tolist() == [[8, 6, 6]] * 2
    drive.execute(Reclaim(tokens=(20, 100)), 0.0)
    assert drive._tasks.store(0).lengths(0).tolist() == [20] * 3
    drive.execute(Reclaim(tokens=(0, 100)), 0.0)
    assert drive._tasks.store(0).lengths(0).tolist() == [0] * 3


def test_rewriting_from_0_forgets_the_reclaimed_front() -> None:
    drive, key, value = filled()
    drive.execute(Reclaim(tokens=(0, 10)), 0.0)
    with pytest.raises(
        DriveError,
        match="write at token 5 of sequence 0, layer 0, whose tokens before 10 are reclaimed; start at 0",
    ):
        drive.execute(Write(0, key[:, :, :5], value[:, :, :5], np.full(3, 5)), 0.0)
    drive.execute(Write(0, key[:, :, 10:14], value[:, :, 10:14], np.full(3, 10)), 0.0)
    found = drive.execute(Read(0, num_tokens=14, first=np.full(3, 10)), 0.0).value
    assert (found[0][:, :, 10:] == key[:, :, 10:14]).all()
    drive.execute(Write(0, key, value, np.zeros(3, int)), 0.0)
    assert (drive.execute(Read(0), 0.0).value[0] == key).all()


def test_a_drive_full_of_ranges_does_not_fill_up() -> None:
    """A window that slides over a long sequence: pages behind it are free at once, though it never ends."""
    drive, rng = (
        configured(batch_size=1, num_layers=1, max_len=2000, channel_group=4),
        np.random.default_rng(0),
    )
    free = []
    for t in range(0, 2000, 8):
        key = tokens(rng, 1, 2, 8, 4)
        drive.execute(Write(0, key, key, np.array([t])), 0.0)
        if t >= 40:
            drive.execute(Reclaim(tokens=(0, t - 32)), 0.0)
            free.append(drive.execute(Health(), 0.0).value.free_bytes)
    assert min(free[100:]) >= min(free[:100])
    assert drive.execute(Health(), 0.0).value.valid_bytes <= 64 * (40 // 4 * 4 + 40 // 4 * 2)


@pytest.mark.parametrize(
    ("tokens_", "message"),
    [
        (
            (3, 17),
            "tokens 3 to 17 of sequence 0, layer 0, are in the middle of 0 to 30; reclaim a range that begins at 0",
        ),
        ((5, 4), "tokens 5 to 4 are no range; give a first token and one after the last"),
        ((-1, 4), "tokens -1 to 4 are no range"),
    ],
)
def test_ranges_that_no_command_can_drop(tokens_: tuple[int, int], message: str) -> None:
    drive, key, _ = filled()
    with pytest.raises(DriveError, match=message):
        drive.execute(Reclaim(tokens=tokens_), 0.0)
    drive.execute(Reclaim(0, np.array([2]), (0, 20)), 0.0)
    with pytest.raises(DriveError, match="in the middle"):  # nothing goes where one sequence cannot
        drive.execute(Reclaim(tokens=(10, 20)), 0.0)
    assert (
        drive.execute(Read(0, rows=np.array([0, 1]), num_tokens=30), 0.0).value[0] == key[:2, :, :30]
    ).all()
    with pytest.raises(DriveError, match=r"first is \[-1, 0, 0\]; give tokens from 0 on"):
        drive.execute(Read(1, first=np.array([-1, 0, 0])), 0.0)
