"""Pages that cannot be corrected: who hears of them, and what goes on without them."""

import dataclasses

import numpy as np
import pytest

from cost_models.hardware import FaultSpec
from runtime.csd import (
    Attend,
    Configure,
    Drive,
    DriveError,
    LostTokens,
    MediaError,
    NoBacking,
    Read,
    Reclaim,
    Write,
)
from runtime.csd.sparse import Sparse

from .drives import spec, tokens
from .failing_drives import again_and_again, become, faulty, health
from .reference import attention

pytestmark = pytest.mark.usefixtures("each_backing")

START = np.zeros(3, np.int64)


def test_a_read_that_meets_one_says_what_is_lost() -> None:
    drive = faulty(task={"batch_size": 1})
    key = tokens(np.random.default_rng(0), 1, 2, 40, 4)
    drive.execute(Write(1, key, key, START[:1]), 0.0)
    become(drive, uncorrectable_per_page_read=0.02)
    with pytest.raises(
        MediaError,
        match=r"csd0: 1 page cannot be corrected any more, which loses layer 1, sequence 0, tokens \d+ to \d+; "
        "write these sequences again from their first lost token on, or reclaim them",
    ) as caught:
        again_and_again(drive, Read(1))
    assert caught.value.drive == "csd0"
    (lost,) = caught.value.lost
    assert (lost.layer, lost.row, lost.last_token - lost.first_token) == (1, 0, 4)
    report = health(drive, scan=True)
    assert (report.uncorrectable_pages, report.checksum_errors, report.retired_blocks) == (1, 1, 0)
    become(drive, uncorrectable_per_page_read=0.0)
    before = np.array([lost.first_token])
    kept = drive.execute(Read(1, before), 0.0).value
    assert (kept[0][0, :, : before[0]] == key[0, :, : before[0]]).all()
    with pytest.raises(MediaError):
        drive.execute(Read(1, before + 1), 0.0)
    drive.execute(Write(1, key[:, :, before[0] :], key[:, :, before[0] :], before), 0.0)
    assert (drive.execute(Read(1), 0.0).value[1] == key).all()
    assert health(drive, scan=True).checksum_errors == 0


def test_neighbouring_groups_are_one_range_and_many_are_not_listed() -> None:
    drive = faulty(uncorrectable_per_page_read=1.0)
    key = tokens(np.random.default_rng(0), 3, 2, 23, 4)
    drive.execute(Write(0, key, key, START), 0.0)
    with pytest.raises(
        MediaError, match=r"60 pages cannot .* tokens 0 to 19; .*; .* 2, tokens 0 to 19; write"
    ) as caught:
        drive.execute(Read(0), 0.0)
    assert caught.value.lost == tuple(LostTokens(0, row, 0, 20) for row in range(3))
    drive = faulty(task={"batch_size": 5}, uncorrectable_per_page_read=1.0)
    drive.execute(Write(0, *[tokens(np.random.default_rng(0), 5, 2, 4, 4)] * 2, np.zeros(5, int)), 0.0)
    with pytest.raises(MediaError, match="sequence 2, tokens 0 to 3; 2 more; write"):
        drive.execute(Read(0), 0.0)


@pytest.mark.parametrize("window", [None, 6])
def test_an_attention_that_fails_has_not_appended_its_token(window: int | None) -> None:
    drive = faulty()
    rng = np.random.default_rng(0)
    key = tokens(rng, 3, 2, 21, 4)
    drive.execute(Write(0, key, key, START), 0.0)
    before = health(drive)
    become(drive, uncorrectable_per_page_read=0.5)
    new = tokens(rng, 3, 2, 4)
    command = Attend(0, new, new, new, START + 22, 0.5, window=window)
    with pytest.raises(MediaError) as caught:
        drive.execute(command, 0.0)
    assert all(lost.first_token >= 16 for lost in caught.value.lost) == (window is not None)
    after = health(drive)
    assert (after.buffered_tokens, after.bytes_written_by_host) == (
        before.buffered_tokens,
        before.bytes_written_by_host,
    )
    assert after.pages_read == before.pages_read
    become(drive, uncorrectable_per_page_read=0.0)
    with pytest.raises(MediaError):  # the page stays lost, for ever
        drive.execute(command, 0.0)
    for row in {lost.row for lost in caught.value.lost}:
        first = min(lost.first_token for lost in caught.value.lost if lost.row == row)
        again = key[[row], :, first:]
        drive.execute(Write(0, again, again, np.array([first]), rows=np.array([row])), 0.0)
    got = drive.execute(command, 0.0).value
    key = np.concatenate([key, new[:, :, None]], axis=2)
    np.testing.assert_allclose(got, attention(new, key, key, START + 22, 0.5, window=window), atol=1e-5)


def test_other_sequences_and_layers_go_on() -> None:
    drive, rng = faulty(), np.random.default_rng(0)
    key = tokens(rng, 3, 2, 40, 4)
    for layer in range(2):
        drive.execute(Write(layer, key, key, START), 0.0)
    become(drive, uncorrectable_per_page_read=1.0)
    with pytest.raises(MediaError):
        drive.execute(Read(0, rows=np.array([1])), 0.0)
    become(drive, uncorrectable_per_page_read=0.0)
    assert (drive.execute(Read(1), 0.0).value[0] == key).all()
    others = np.array([0, 2])
    assert (drive.execute(Read(0, rows=others), 0.0).value[0] == key[others]).all()
    query = tokens(rng, 2, 2, 4)
    got = drive.execute(Attend(0, query, None, None, np.full(2, 40), 0.5, rows=others), 0.0).value
    np.testing.assert_allclose(
        got, attention(query, key[others], key[others], np.full(2, 40), 0.5), atol=1e-5
    )
    with pytest.raises(MediaError):
        drive.execute(Attend(0, query, None, None, np.full(2, 40), 0.5, rows=np.array([1, 2])), 0.0)


def test_nothing_is_written_behind_a_page_that_is_lost() -> None:
    drive = faulty(task={"batch_size": 1})
    key = tokens(np.random.default_rng(0), 1, 2, 10, 4)
    drive.execute(Write(0, key, key, START[:1]), 0.0)
    become(drive, uncorrectable_per_page_read=1.0)
    with pytest.raises(MediaError) as caught:  # rewriting token 5 reads the page of tokens 4 to 7
        drive.execute(Write(0, key, key, START[:1] + 5), 0.0)
    assert caught.value.lost == (LostTokens(0, 0, 4, 8),)
    become(drive, uncorrectable_per_page_read=0.0)
    for start in (5, 8, 10):
        with pytest.raises(MediaError, match="tokens 4 to 7"):
            drive.execute(Write(0, key, key, START[:1] + start), 0.0)
    drive.execute(Write(0, key, key, START[:1] + 4), 0.0)
    assert (drive.execute(Read(0, num_tokens=14), 0.0).value[0][:, :, 4:] == key).all()


def test_the_block_is_retired_when_it_holds_nothing_any_more() -> None:
    drive = faulty(task={"batch_size": 1})
    key = tokens(np.random.default_rng(0), 1, 2, 40, 4)
    drive.execute(Write(0, key, key, START[:1]), 0.0)
    become(drive, uncorrectable_per_page_read=0.1)
    with pytest.raises(MediaError):
        again_and_again(drive, Read(0))
    become(drive, uncorrectable_per_page_read=0.0)
    lost = health(drive).uncorrectable_pages
    drive.execute(Reclaim(), 0.0)
    report = health(drive)
    assert 1 <= report.retired_blocks <= lost
    capacity = 512 * 8 * 64
    assert report.free_bytes == capacity - report.retired_blocks * 8 * 64
    for _ in range(70):  # all other blocks of a plane are used again, these are not
        drive.execute(Write(0, key, key, START[:1]), 0.0)
        drive.execute(Read(0), 0.0)
        drive.execute(Reclaim(), 0.0)
    assert health(drive).retired_blocks == report.retired_blocks


class TestSparseAttention:
    """What a sparse attention loses shows at the next command: it chooses its pages as it runs."""

    def drive(self) -> tuple[Drive, np.ndarray, Attend]:
        """Returns three sequences of 39 tokens, 32 of them by channel, too, and an attention that appends one."""
        drive, rng = faulty(task={"channel_group": 2}), np.random.default_rng(0)
        key = tokens(rng, 3, 2, 39, 4)
        drive.execute(Write(0, key, key, START), 0.0)
        query, new = tokens(rng, 2, 3, 2, 4)
        sparse = Sparse(2, np.full(3, 8), np.full(3, 2), mean_value=True)
        return drive, key, Attend(0, query, new, new, START + 40, 0.5, sparse=sparse)

    def test_the_next_one_is_refused_and_has_not_appended_its_token(self) -> None:
        drive, key, command = self.drive()
        become(drive, uncorrectable_per_page_read=1.0)
        read = drive.execute(command, 0.0).detail.pages_read
        become(drive, uncorrectable_per_page_read=0.0)
        report = health(drive)
        assert 0 < report.uncorrectable_pages <= read
        with pytest.raises(MediaError) as caught:
            drive.execute(command, 0.0)
        assert health(drive).buffered_tokens == report.buffered_tokens
        for lost in caught.value.lost:
            assert lost.first_token % 4 == 0 == lost.last_token % 4
            assert lost.last_token <= 40
        drive.execute(Write(0, key, key, START), 0.0)
        got = drive.execute(dataclasses.replace(command, sparse=None), 0.0).value
        assert command.key is not None
        whole = np.concatenate([key, command.key[:, :, None]], axis=2)
        np.testing.assert_allclose(got, attention(command.query, whole, whole, START + 40, 0.5), atol=1e-5)

    def test_a_lost_channel_page_leaves_exact_attention_as_it_was(self) -> None:
        drive, key, command = self.drive()
        page = drive._tasks.store(0).ftl.channel_table(0)[1, 0, 1, 2]
        drive._lost._lose(np.array([page]))
        with pytest.raises(MediaError, match=r"1 page .* loses layer 0, sequence 1, tokens 16 to 23; write"):
            drive.execute(command, 0.0)
        got = drive.execute(dataclasses.replace(command, sparse=None), 0.0).value
        assert command.key is not None
        whole = np.concatenate([key, command.key[:, :, None]], axis=2)
        np.testing.assert_allclose(got, attention(command.query, whole, whole, START + 40, 0.5), atol=1e-5)
        drive.execute(Write(0, key[[1], :, 16:], key[[1], :, 16:], START[:1] + 16, rows=np.array([1])), 0.0)
        drive.execute(dataclasses.replace(command, key=None, value=None, lengths=np.array([40, 39, 40])), 0.0)

    def test_reclaiming_tokens_around_a_lost_page_is_refused_until_it_goes_too(self) -> None:
        """The sum of V is made again from what stays."""
        drive, key, command = self.drive()
        drive._lost._lose(drive._tasks.store(0).ftl.table(0)[1, 0, 1, [2]])
        for kept in ((0, 8), (16, 40)):
            with pytest.raises(MediaError, match="loses layer 0, sequence 1, tokens 8 to 11; write these"):
                drive.execute(Reclaim(tokens=kept), 0.0)
        assert drive._tasks.store(0).lengths(0).tolist() == [39, 39, 39]
        drive.execute(Reclaim(tokens=(0, 12)), 0.0)
        window = dataclasses.replace(command, window=28, sparse=None)
        got = drive.execute(window, 0.0).value
        assert command.key is not None
        whole = np.concatenate([key, command.key[:, :, None]], axis=2)
        expected = attention(command.query, whole, whole, START + 40, 0.5, window=28)
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_a_task_is_named_by_what_it_lost() -> None:
    drive = faulty()
    drive.execute(Configure(1, 2, 2, 4, np.dtype(np.float32), 1, 8, task=7), 0.0)
    key = tokens(np.random.default_rng(0), 1, 2, 8, 4)
    drive.execute(Write(0, key, key, START[:1], task=7), 0.0)
    become(drive, uncorrectable_per_page_read=1.0)
    with pytest.raises(MediaError) as caught:
        drive.execute(Read(0, task=7), 0.0)
    assert caught.value.lost == (LostTokens(0, 0, 0, 8, task=7),)


def test_pages_without_bytes_cannot_be_lost() -> None:
    lossy = spec(faults=FaultSpec(uncorrectable_per_page_read=0.1))
    with pytest.raises(
        DriveError, match=r"uncorrectable_per_page_read is 0\.1, and pages without backing .*; keep them in"
    ):
        Drive(lossy, backing=NoBacking())
