import numpy as np
import pytest

from runtime.csd import Attend, Health, Read, Write

from .drives import configured, tokens


@pytest.mark.parametrize("length", range(14))
def test_tokens_wait_until_a_page_is_full(length: int) -> None:
    drive = configured(batch_size=1)
    rng = np.random.default_rng(length)
    key, value = tokens(rng, 1, 2, length, 4), tokens(rng, 1, 2, length, 4)
    for t in range(length):
        drive.execute(Write(0, key[:, :, t : t + 1], value[:, :, t : t + 1], np.array([t])), 0.0)
    health = drive.execute(Health(), 0.0).value
    assert health.buffered_tokens == length % 4
    assert health.buffered_bytes == length % 4 * 2 * 2 * 16
    assert health.pages_programmed == length // 4 * 4
    found = drive.execute(Read(0, num_tokens=length), 0.0).value
    assert (found[0] == key).all()
    assert (found[1] == value).all()


@pytest.mark.parametrize("first", range(9))
@pytest.mark.parametrize("more", [0, 1, 3, 4, 5, 8, 11])
def test_one_write_equals_many(first: int, more: int) -> None:
    drive = configured(batch_size=1)
    rng = np.random.default_rng(0)
    key, value = tokens(rng, 1, 2, first + more, 4), tokens(rng, 1, 2, first + more, 4)
    drive.execute(Write(0, key[:, :, :first], value[:, :, :first], np.array([0])), 0.0)
    drive.execute(Write(0, key[:, :, first:], value[:, :, first:], np.array([first])), 0.0)
    found = drive.execute(Read(0, num_tokens=first + more), 0.0).value
    assert (found[0] == key).all()
    assert (found[1] == value).all()
    assert drive.execute(Health(), 0.0).value.pages_programmed == (first + more) // 4 * 4


def test_a_group_that_attend_fills_is_read_from_the_buffer_and_then_flushed() -> None:
    drive = configured(batch_size=1)
    rng = np.random.default_rng(0)
    drive.execute(Write(0, tokens(rng, 1, 2, 3, 4), tokens(rng, 1, 2, 3, 4), np.array([0])), 0.0)
    new = tokens(rng, 1, 2, 4)
    done = drive.execute(Attend(0, new, new, new, np.array([4]), 0.5), 0.0)
    assert (done.detail.pages_read, done.detail.pages_programmed) == (0, 4)
    done = drive.execute(Attend(0, new, None, None, np.array([4]), 0.5), 0.0)
    assert (done.detail.pages_read, done.detail.pages_programmed) == (4, 0)
