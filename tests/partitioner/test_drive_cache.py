"""Pages and memory of a cache in flash, against the drive itself."""

import numpy as np
import pytest

from cost_models import HardwareSpec
from partitioner import SparF
from partitioner.drive_cache import DriveCache, best_channel_group
from runtime.csd.task import Task

FLASH = HardwareSpec.load("a6000-csd").drives[0].flash
EIGHTH = SparF.ratio(8)


def _task(max_len: int, channel_group: int | None) -> Task:
    return Task(2, 3, 3, 128, np.dtype("float16"), 4, max_len, FLASH.page_bytes, channel_group=channel_group)


@pytest.mark.parametrize("channel_group", [None, 2, 8])
@pytest.mark.parametrize("max_len", [16, 300, 2048, 5000])
def test_memory_is_what_the_drive_reserves(max_len: int, channel_group: int | None) -> None:
    cache = DriveCache(FLASH, 128, 2, EIGHTH if channel_group else None, channel_group)
    assert cache.memory_bytes(max_len) * 2 * 3 * 4 == _task(max_len, channel_group).dram_bytes


def test_longer_contexts_put_fewer_channels_into_a_page() -> None:
    groups = [
        best_channel_group(FLASH, 128, 2, (EIGHTH,), ((context, 1.0),))
        for context in (512, 1500, 8192, 131072)
    ]
    assert groups == sorted(groups, key=lambda g: -(g or 0))
    assert groups[0] != groups[-1] == 2


def test_a_head_that_no_group_divides_is_kept_by_token_alone() -> None:
    assert best_channel_group(FLASH, 81, 2, (EIGHTH,), ((512, 1.0),)) is None
    assert DriveCache(FLASH, 81, 2, EIGHTH, None).reads(512) is None


def test_a_context_that_k_covers_is_read_whole() -> None:
    cache = DriveCache(FLASH, 128, 2, SparF(16, 128), 4)
    assert cache.reads(128) is None
    assert cache.attend_pages(128) == 16
    assert cache.attend_pages(1024) < 2 * 64


def test_a_prompt_programs_its_k_twice_only_in_whole_channel_groups() -> None:
    cache = DriveCache(FLASH, 128, 2, EIGHTH, 8)  # 256 tokens to a channel page
    assert [cache.copies_of(tokens) for tokens in (255, 256, 511, 512)] == [1.0, 1.5, 1 + 128 / 511, 1.5]
    assert DriveCache(FLASH, 128, 2).copies_of(512) == 1.0
