from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_models import (
    HardwareError,
    HardwareSpec,
    attend_cost,
    attend_pages,
    flash_read_cost,
    flash_write_cost,
    kv_append_cost,
    oldest_token,
    tokens_per_page,
)
from tests.cost_models.systems import DRIVE, ENGINE, FLASH, SSD, is_cost


def test_reading_one_page_shows_the_sense_and_many_hide_it():
    assert is_cost(flash_read_cost(DRIVE, num_pages=1), 50e-6 + 10e-6, "flash")
    assert flash_read_cost(DRIVE, num_pages=8).seconds == pytest.approx(60e-6)
    assert flash_read_cost(DRIVE, num_pages=9).seconds == pytest.approx(70e-6)
    assert flash_read_cost(DRIVE, num_pages=80_000).seconds == pytest.approx(50e-6 + 10_000 * 10e-6)
    assert flash_read_cost(DRIVE, 4097).seconds == flash_read_cost(DRIVE, num_pages=2).seconds
    assert flash_read_cost(DRIVE, 0).seconds == 0


def test_slow_dies_set_the_pace():
    slow = replace(DRIVE, flash=replace(FLASH, dies_per_channel=1))  # 2 planes: 2 pages per 50 us
    assert flash_read_cost(slow, num_pages=8_000).seconds == pytest.approx(500 * 50e-6 + 10e-6)


def test_programming():
    # one channel programs 8 pages per 400 us; transfers of 10 us each hide behind it, but the first
    assert flash_write_cost(DRIVE, num_pages=64).seconds == pytest.approx(400e-6 + 10e-6)
    assert flash_write_cost(DRIVE, num_pages=8).seconds == pytest.approx(50e-6 + 10e-6)
    assert flash_write_cost(DRIVE, num_pages=64_000).seconds == pytest.approx(1000 * 400e-6 + 10e-6)


def test_bytes_or_pages():
    with pytest.raises(HardwareError, match="either num_bytes or num_pages"):
        flash_read_cost(DRIVE)
    with pytest.raises(HardwareError, match="either num_bytes or num_pages"):
        flash_read_cost(DRIVE, 1, num_pages=1)
    with pytest.raises(HardwareError, match="num_bytes = -1"):
        flash_write_cost(DRIVE, -1)


def test_tokens_per_page():
    assert tokens_per_page(FLASH, 128, 2) == 16
    with pytest.raises(
        HardwareError, match="a page of 4096 B cannot hold one token of a head: 2048 elements x 4 B"
    ):
        tokens_per_page(FLASH, 2048, 4)


SHAPE = {"batch": 4, "kv_heads": 2, "head_size": 128, "kv_bytes_per_element": 2.0}


def test_attend_pages_leaves_the_group_in_dram():
    assert attend_pages(DRIVE, context_len=160, **SHAPE) == 2 * 8 * 10
    assert attend_pages(DRIVE, context_len=175, **SHAPE) == 2 * 8 * 10
    assert attend_pages(DRIVE, context_len=15, **SHAPE) == 0


def test_a_window_reaches_whole_pages():
    """Tokens 100 to 159 are in pages 6 to 9; of tokens 165 to 174, the last page that is full ended at 159."""
    assert attend_pages(DRIVE, context_len=160, window=60, **SHAPE) == 2 * 8 * 4
    assert attend_pages(DRIVE, context_len=175, window=10, **SHAPE) == 0
    assert attend_pages(DRIVE, context_len=160, window=160, **SHAPE) == 2 * 8 * 10
    with pytest.raises(HardwareError, match="window = 0"):
        attend_pages(DRIVE, context_len=160, window=0, **SHAPE)


def test_attention_to_a_window_takes_as_long_as_to_a_context_of_its_length():
    for length in (160, 1600):
        windowed = attend_cost(DRIVE, group_size=1, context_len=4800, window=length, **SHAPE)
        assert windowed == attend_cost(DRIVE, group_size=1, context_len=length, **SHAPE)


def test_attend_limited_by_flash():
    # 160 pages over 8 channels: 50 us + 20 x 10 us; the engine needs 65.5 us for the bytes
    cost = attend_cost(DRIVE, group_size=1, context_len=160, **SHAPE)
    assert is_cost(cost, 250e-6 + 25e-6, "flash")


def test_attend_limited_by_the_engine():
    # 4 x 4 x 2 x 64 x 128 x 160 FLOP at 100 GFLOP/s, from the first page on, which takes 50 us to sense
    cost = attend_cost(DRIVE, group_size=64, context_len=160, **SHAPE)
    assert is_cost(cost, 4 * 4 * 2 * 64 * 128 * 160 / 100e9 + 50e-6 + 25e-6, "compute")
    slow = replace(DRIVE, engine=replace(ENGINE, bytes_per_s=1e9))
    cost = attend_cost(slow, group_size=1, context_len=160, **SHAPE)
    assert is_cost(cost, 160 * 4096 / 1e9 + 50e-6 + 25e-6, "memory")


def test_attend_to_the_buffer_alone():
    # the new token goes to drive memory, then the engine reads it with the seven before it
    cost = attend_cost(DRIVE, group_size=1, context_len=8, **SHAPE)
    assert cost.bound == "overhead"
    assert cost.seconds == pytest.approx(25e-6 + 2 * 8 * (8 + 1) * 256 / 1e10)


def test_a_plain_ssd_cannot_attend():
    with pytest.raises(HardwareError, match="no engine and cannot attend"):
        attend_cost(SSD, group_size=1, context_len=8, **SHAPE)


def test_attend_rejects():
    with pytest.raises(HardwareError, match="context_len = -1"):
        attend_cost(DRIVE, group_size=1, context_len=-1, **SHAPE)
    with pytest.raises(HardwareError, match="group_size = 0"):
        attend_cost(DRIVE, group_size=0, context_len=8, **SHAPE)


def test_opt_13b_layer_reads_at_the_internal_rate():
    # batch 64, 40 heads of 128 float16 at 2048 tokens: 2.684 GB at 11.2 GB/s is 0.2397 s a layer
    drive = HardwareSpec.load("a6000-csd").drives[0]
    num_bytes = 64 * 2048 * 2 * 5120 * 2
    cost = attend_cost(
        drive, batch=64, kv_heads=40, group_size=1, head_size=128, context_len=2048, kv_bytes_per_element=2
    )
    assert num_bytes == 2_684_354_560
    assert cost.bound == "flash"
    assert cost.seconds == pytest.approx(num_bytes / 11.2e9, rel=2e-3)
    # a prefill of 1024 tokens writes 1.34 GB a layer
    assert pytest.approx(1.34e9, rel=2e-3) == 64 * 1024 * 2 * 5120 * 2


def test_append_programs_the_share_of_a_page():
    rows = 2 * 4 * 2
    cost = kv_append_cost(DRIVE, **SHAPE)
    assert is_cost(cost, rows * 256 / FLASH.program_bytes_per_s, "flash")
    assert kv_append_cost(DRIVE, **SHAPE, num_tokens=16).seconds == pytest.approx(16 * cost.seconds)


@given(
    context=st.integers(0, 5000),
    more=st.integers(0, 500),
    group=st.integers(1, 8),
    factor=st.floats(1, 50),
)
def test_attend_is_monotonic(context, more, group, factor):
    base = attend_cost(DRIVE, group_size=group, context_len=context, **SHAPE).seconds
    assert attend_cost(DRIVE, group_size=group + 1, context_len=context, **SHAPE).seconds >= base
    later = attend_cost(DRIVE, group_size=group, context_len=context + 16 * more, **SHAPE)
    assert later.seconds >= base
    rate = FLASH.channel_bytes_per_s * factor
    fast = replace(DRIVE, flash=replace(FLASH, channel_bytes_per_s=rate))
    assert attend_cost(fast, group_size=group, context_len=context, **SHAPE).seconds <= base


@given(pages=st.integers(0, 10**6), channels=st.integers(1, 32))
def test_reads_never_beat_the_internal_rate(pages, channels):
    drive = replace(DRIVE, flash=replace(FLASH, channels=channels))
    floor = pages * 4096 / drive.flash.internal_bytes_per_s
    assert flash_read_cost(drive, num_pages=pages).seconds >= floor * (1 - 1e-12)
    assert (
        flash_read_cost(drive, num_pages=pages + 1).seconds >= flash_read_cost(drive, num_pages=pages).seconds
    )


def test_windows_count_from_the_newest_of_all_tokens() -> None:
    """Tokens behind those of the drive are attended to elsewhere and shorten what a window reaches of it."""
    assert oldest_token(160, 60) == 100
    assert oldest_token(160, 60, newer=20) == 120
    assert oldest_token(160, 60, newer=60) == oldest_token(160, 60, newer=90) == 160
    assert oldest_token(160, None, newer=90) == 0
    assert attend_pages(DRIVE, context_len=160, window=60, newer=20, **SHAPE) == 2 * 8 * 3
    assert attend_pages(DRIVE, context_len=160, window=60, newer=90, **SHAPE) == 0


def test_what_is_not_appended_does_not_go_to_drive_memory() -> None:
    """A drive with slow memory waits for the new token, and for nothing where there is none."""
    slow = replace(DRIVE, dram_bytes_per_s=1.0)
    with_token, without = (
        attend_cost(slow, context_len=160, group_size=1, appended_tokens=count, **SHAPE) for count in (1, 0)
    )
    token_bytes = 2 * SHAPE["batch"] * SHAPE["kv_heads"] * SHAPE["head_size"] * SHAPE["kv_bytes_per_element"]
    assert with_token.bound == "memory"
    assert with_token.seconds > token_bytes
    assert without.seconds < 1.0
