"""Sparse attention inside a drive: expected pages against a simulation, and time between its bounds."""

import dataclasses
from itertools import product
from statistics import NormalDist

import numpy as np
import pytest

from cost_models import (
    HardwareError,
    HardwareSpec,
    SparseReads,
    attend_cost,
    channel_page_tokens,
    channel_pages,
    sparse_attend_cost,
    sparse_pages,
)
from cost_models.sparse_attend import TOKENS_PER_CLUSTER

DRIVE = HardwareSpec.load("a6000-csd").drives[0]
SHAPE = {"head_size": 128, "kv_bytes_per_element": 2}
EIGHTH = SparseReads(num_channels=16, num_tokens=128, num_newest=32, channel_group=4)


def _drawn_lanes(
    context_len: int, first: int, reads: SparseReads, rng: np.random.Generator
) -> list[set[int]]:
    """Returns the groups of each lane that are read for channels and clusters drawn at random: by channel, then K, then V."""
    group, copied = 16, 2048 // reads.channel_group
    in_pages = context_len // group * group
    by_channel = in_pages // copied * copied
    channels = rng.choice(128, reads.num_channels, replace=False)
    by_channel_groups = range(max(0, by_channel // copied - first // copied))
    lanes = [set(by_channel_groups) for _ in set(channels // reads.channel_group)]
    tail = set(range(max(by_channel, first) // group, in_pages // group))
    older = context_len - reads.num_newest
    drawn = round((reads.num_tokens - reads.num_newest) / TOKENS_PER_CLUSTER)
    tokens = [*rng.choice(np.arange(first, older), drawn, replace=False), *range(older, context_len)]
    pages = {int(t) // group for t in tokens if t < in_pages}
    return [*lanes, tail, pages - tail, pages]


def _drawn_pages(
    context_len: int, first: int, reads: SparseReads, rng: np.random.Generator
) -> tuple[int, int]:
    """Returns pages of step one and step two, counted one by one."""
    *one, keys, values = _drawn_lanes(context_len, first, reads, rng)
    return sum(map(len, one)), len(keys) + len(values)


@pytest.mark.parametrize("context_len", [1024, 1500, 2047, 3000])
@pytest.mark.parametrize("channel_group", [2, 8])
@pytest.mark.parametrize("window", [None, 640])
def test_expected_pages_are_the_mean_of_random_choices(
    context_len: int, channel_group: int, window: int | None
) -> None:
    reads = dataclasses.replace(EIGHTH, channel_group=channel_group)
    rng = np.random.default_rng(context_len)
    first = 0 if window is None else context_len - window
    drawn = np.array([_drawn_pages(context_len, first, reads, rng) for _ in range(300)])
    expected = sparse_pages(DRIVE.flash, context_len=context_len, reads=reads, window=window, **SHAPE)
    # of the oldest page in a window some tokens are not in it; it counts as any other
    tolerance = 0.02 if window is None else 0.03
    assert expected.step_one == pytest.approx(drawn[:, 0].mean(), rel=tolerance)
    assert expected.token_pages == pytest.approx(drawn[:, 1].mean(), rel=tolerance)


def test_a_context_that_k_covers_is_attended_exactly() -> None:
    part = {"batch": 4, "kv_heads": 40, "group_size": 1, **SHAPE}
    sparse = sparse_attend_cost(DRIVE, context_len=128, reads=EIGHTH, **part)
    assert sparse == attend_cost(DRIVE, context_len=128, **part)


@pytest.mark.parametrize("batch", [1, 64])
def test_sparse_attention_is_faster_than_exact_and_no_faster_than_its_pages(batch: int) -> None:
    part = {"batch": batch, "kv_heads": 40, "group_size": 1, "context_len": 4096, **SHAPE}
    sparse = sparse_attend_cost(DRIVE, reads=EIGHTH, **part)
    pages = sparse_pages(DRIVE.flash, context_len=4096, reads=EIGHTH, **SHAPE)
    read_s = pages.total * batch * 40 * DRIVE.flash.page_bytes / DRIVE.flash.internal_bytes_per_s
    assert read_s < sparse.seconds < attend_cost(DRIVE, **part).seconds
    assert sparse.bound == "flash"


def test_a_single_pair_waits_for_its_first_step() -> None:
    # nothing else keeps the channels busy between the steps: the engine's pipeline and a second sense show
    part = {"batch": 1, "kv_heads": 1, "group_size": 1, "context_len": 4096, **SHAPE}
    pages = sparse_pages(DRIVE.flash, context_len=4096, reads=EIGHTH, **SHAPE)
    read_s = pages.total * DRIVE.flash.page_bytes / DRIVE.flash.internal_bytes_per_s
    assert DRIVE.engine is not None
    shown_s = 2 * DRIVE.flash.t_read_s + 2 * DRIVE.engine.setup_s + DRIVE.command_s
    channels, page_s = DRIVE.flash.channels, DRIVE.flash.page_bytes / DRIVE.flash.internal_bytes_per_s
    fullest = NormalDist().inv_cdf((channels - 0.375) / (channels + 0.25)) * pages.variance**0.5
    read_s += fullest * channels * page_s
    assert sparse_attend_cost(DRIVE, reads=EIGHTH, **part).seconds == pytest.approx(
        read_s + shown_s, rel=0.02
    )


@pytest.mark.parametrize("channel_group", [2, 8])
def test_the_fullest_channel_is_as_full_as_random_choices_make_it(channel_group: int) -> None:
    reads, channels, pairs = (
        dataclasses.replace(EIGHTH, channel_group=channel_group),
        DRIVE.flash.channels,
        40,
    )
    rng = np.random.default_rng(7)
    counts = np.zeros((60, channels))
    for trial, _ in product(range(60), range(pairs)):
        for lane in _drawn_lanes(2048, 0, reads, rng):
            at = (rng.integers(channels) + np.array(sorted(lane), int)) % channels
            counts[trial] += np.bincount(at, minlength=channels)
    excess = (counts.max(axis=1) - counts.mean(axis=1)).mean()
    expected = sparse_pages(DRIVE.flash, context_len=2048, reads=reads, **SHAPE)
    quantile = NormalDist().inv_cdf((channels - 0.375) / (channels + 0.25))
    assert quantile * (expected.variance * pairs) ** 0.5 == pytest.approx(excess, rel=0.2)


def test_the_second_copy_of_k_takes_whole_pages() -> None:
    # InstInfer (arXiv 2409.04992): 2 to 8 head channels of 256 to 1K tokens in a page of 4 KiB
    assert [channel_page_tokens(DRIVE.flash, 128, 2, c) for c in (8, 4, 2)] == [256, 512, 1024]
    assert channel_pages(DRIVE.flash, 128, 2, 8, tokens=1024) == 64
    assert channel_pages(DRIVE.flash, 128, 2, 8, tokens=1023) == 48


@pytest.mark.parametrize(
    ("head_size", "channels", "said"),
    [
        (100, 8, "channel_group = 8 does not divide the head size 100"),
        (4096, 4096, "cannot hold 4096 channels"),
    ],
)
def test_groups_that_do_not_fit_are_refused(head_size: int, channels: int, said: str) -> None:
    with pytest.raises(HardwareError, match=said):
        channel_page_tokens(DRIVE.flash, head_size, 2, channels)


@pytest.mark.parametrize("field", ["num_channels", "num_tokens", "channel_group"])
def test_counts_are_checked(field: str) -> None:
    with pytest.raises(HardwareError, match=f"{field} = 0 is not accepted"):
        dataclasses.replace(EIGHTH, **{field: 0})


def test_about_half_of_the_pages_are_touched_at_the_papers_nominal_eighth() -> None:
    # InstInfer (arXiv 2409.04992): k = S/8, pages of 16 tokens
    reads = SparseReads(num_channels=16, num_tokens=256, num_newest=64, channel_group=8)
    pages = sparse_pages(DRIVE.flash, context_len=2048, reads=reads, **SHAPE)
    assert pages.token_pages / 256 == pytest.approx(0.5, rel=0.03)
