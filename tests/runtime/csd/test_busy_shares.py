"""Shares of time worked out by hand: a page takes 1 ms on a channel, 10 ms to program, and a channel has 2 planes."""

import numpy as np
import pytest

from cost_models.hardware import EngineSpec
from runtime.csd import Attend, Configure, Drive, Health, HealthReport, Write

from .drives import SPEC, configured, spec, tokens

MS = 1e-3


def health(drive: Drive, at_s: float) -> HealthReport:
    return drive.execute(Health(), at_s).value


def test_a_drive_that_did_nothing_yet() -> None:
    for drive in (Drive(SPEC), configured()):
        report = health(drive, 0.0)
        assert report.busy_shares.elapsed_s == 0.0
        assert report.busy_shares.channels == report.busy_shares.planes == (0.0,) * 4
        assert (report.busy_shares.engine, report.buffer_fill) == (0.0, 0.0)


def test_shares_of_the_time_since_the_cache_was_configured() -> None:
    """One sequence of 32 tokens: 32 pages, 8 on each channel; 8 transfers and 8 / 2 programs of 10 ms for each."""
    engine = EngineSpec(flops=1e9, bytes_per_s=64e3, setup_s=0.0)  # a page in 1 ms, all 32 in 32 ms
    drive = Drive(spec(engine=engine))
    task = Configure(1, 2, 2, 4, np.dtype(np.float32), 1, 40)
    drive.execute(task, 2.0)
    key = tokens(np.random.default_rng(0), 1, 2, 32, 4)
    drive.execute(Write(0, key, key, np.array([0])), 2.0)
    used = health(drive, 2.1).busy_shares
    assert used.elapsed_s == pytest.approx(0.1)
    assert used.channels == pytest.approx((0.08,) * 4)
    assert used.planes == pytest.approx((0.4,) * 4)
    drive.execute(Attend(0, key[:, :, 0], None, None, np.array([32]), 0.5), 2.9)
    used = health(drive, 3.0).busy_shares
    assert used.channels == pytest.approx((0.016,) * 4)
    assert used.engine == pytest.approx(0.032)
    drive.execute(task, 4.0)
    assert health(drive, 5.0).busy_shares.channels == (0.0,) * 4


def test_no_part_is_ever_busy_for_more_than_all_of_the_time() -> None:
    """Health asked for in the middle of a write counts until the write is done."""
    drive = configured(batch_size=1, num_layers=1)
    key = tokens(np.random.default_rng(0), 1, 2, 32, 4)
    drive.execute(Write(0, key, key, np.array([0])), 0.0)
    used = health(drive, 5 * MS).busy_shares
    assert used.elapsed_s == pytest.approx(41 * MS)
    assert used.planes == pytest.approx((40 / 41,) * 4)


def test_the_share_of_the_group_buffer_that_waits() -> None:
    """3 of 4 tokens of one of three sequences, in one of two layers."""
    drive = configured()
    key = tokens(np.random.default_rng(0), 1, 2, 7, 4)
    drive.execute(Write(1, key, key, np.array([0])), 0.0)
    report = health(drive, 1.0)
    assert (report.buffered_tokens, report.buffer_fill) == (3, pytest.approx(3 / 24))
