"""Times worked out by hand.

A page takes 1 ms on a channel, 1 ms to sense and 10 ms to program; a channel has 2 planes.
"""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cost_models.hardware import EngineSpec, FaultSpec
from runtime.csd import Attend, Health, Read, Reclaim, Write
from runtime.csd.throttle import Throttle

from .drives import ENGINE, configured, spec, tokens

MS = 1e-3


def pages(*counts: int) -> np.ndarray:
    return np.array([*counts, *[0] * (4 - len(counts))])


def test_one_page_is_one_sense_and_one_transfer() -> None:
    throttle = Throttle(spec(), "csd0")
    span = throttle.read(5 * MS, pages(1))
    assert span.end_s == pytest.approx(7 * MS)
    assert span.busy_s == pytest.approx(1 * MS)
    assert throttle.channels[0].busy_s == pytest.approx(1 * MS)


def test_many_pages_expose_one_sense() -> None:
    assert Throttle(spec(), "csd0").read(0.0, pages(100)).end_s == pytest.approx(101 * MS)


def test_channels_work_side_by_side() -> None:
    throttle = Throttle(spec(), "csd0")
    assert throttle.read(0.0, pages(10, 30, 5, 30)).end_s == pytest.approx(31 * MS)
    assert [channel.busy_s for channel in throttle.channels] == pytest.approx(
        [10 * MS, 30 * MS, 5 * MS, 30 * MS]
    )


def test_dies_bound_the_channel() -> None:
    throttle = Throttle(spec(t_read_s=6 * MS), "csd0")  # 2 planes: a page every 3 ms
    assert throttle.read(0.0, pages(1)).end_s == pytest.approx(7 * MS)
    throttle = Throttle(spec(t_read_s=6 * MS), "csd0")
    assert throttle.read(0.0, pages(11)).end_s == pytest.approx((6 + 10 * 3 + 1) * MS)


def test_a_busy_channel_hides_the_sense_of_the_next_command() -> None:
    throttle = Throttle(spec(), "csd0")
    throttle.read(0.0, pages(10))
    assert throttle.read(0.0, pages(10)).end_s == pytest.approx(21 * MS)
    assert throttle.read(50 * MS, pages(10)).end_s == pytest.approx(61 * MS)


def test_nothing_to_read_takes_no_time() -> None:
    assert Throttle(spec(), "csd0").read(3.0, pages()).end_s == 3.0


def test_programs_are_accepted_at_the_rate_of_the_planes() -> None:
    throttle = Throttle(spec(), "csd0")
    assert throttle.program(0.0, pages(20, 4)).end_s == pytest.approx((1 + 20 * 5) * MS)
    assert throttle.channels[0].busy_s == pytest.approx(20 * MS)
    assert throttle.program(0.0, pages(2)).end_s == pytest.approx((101 + 10) * MS)


def test_fast_programs_are_bound_by_the_channel() -> None:
    assert Throttle(spec(t_program_s=1 * MS), "csd0").program(0.0, pages(20)).end_s == pytest.approx(20 * MS)


def test_reads_meet_programs_on_the_channel_only() -> None:
    throttle = Throttle(spec(), "csd0")
    throttle.program(0.0, pages(20))
    assert throttle.read(0.0, pages(1)).end_s == pytest.approx(21 * MS)


def test_erases_delay_programs() -> None:
    throttle = Throttle(spec(), "csd0")
    throttle.erase(0.0, pages(2))  # 2 planes, 100 ms each
    assert throttle.read(0.0, pages(1)).end_s == pytest.approx(2 * MS)
    assert throttle.program(0.0, pages(2)).end_s == pytest.approx(110 * MS)


def test_engine_works_while_pages_stream_in() -> None:
    slow = dataclasses.replace(ENGINE, flops=1e3, setup_s=0.5)
    throttle = Throttle(spec(engine=slow), "csd0")
    span, engine_s = throttle.attend(0.0, pages(10), flops=200.0, buffered_bytes=0, appended_bytes=0)
    assert engine_s == pytest.approx(0.7)
    assert span.end_s == pytest.approx(0.001 + 0.7)  # from the first page on
    throttle = Throttle(spec(engine=slow), "csd0")
    span, _ = throttle.attend(0.0, pages(10_000), flops=200.0, buffered_bytes=0, appended_bytes=0)
    assert span.end_s == pytest.approx(10.001 + 0.5)  # the last page, through the pipeline


def test_engine_ingests_pages_and_buffered_tokens() -> None:
    throttle = Throttle(spec(engine=EngineSpec(flops=1e9, bytes_per_s=1e3, setup_s=0.0)), "csd0")
    span, engine_s = throttle.attend(0.0, pages(10), flops=1.0, buffered_bytes=360, appended_bytes=999)
    assert engine_s == pytest.approx((10 * 64 + 360) / 1e3)
    assert span.end_s == pytest.approx(1.001)


def test_buffered_tokens_pass_through_drive_memory() -> None:
    throttle = Throttle(spec(dram_bytes_per_s=1e3), "csd0")
    span, _ = throttle.attend(0.0, pages(1), flops=1.0, buffered_bytes=400, appended_bytes=100)
    assert span.end_s == pytest.approx(0.5)


def test_a_plain_drive_has_no_engine_to_wait_for() -> None:
    with pytest.raises(ValueError, match=r"a drive without an engine cannot attend; read its pages instead"):
        Throttle(spec(engine=None), "csd0").attend(0.0, pages(1), 1.0, 0, 0)


def test_commands_of_a_drive() -> None:
    """One sequence of 32 tokens in 8 groups: 32 pages, 8 on each channel."""
    drive = configured(spec(command_s=3 * MS), batch_size=1, num_layers=1)
    rng = np.random.default_rng(0)
    key = tokens(rng, 1, 2, 32, 4)
    written = drive.execute(Write(0, key, key, np.array([0])), 1.0)
    assert (written.start_s, written.end_s) == (1.0, pytest.approx(1.0 + (3 + 1 + 8 * 5) * MS))
    assert written.detail.channel_s == pytest.approx(40 * MS)
    assert (written.detail.pages_programmed, written.detail.bytes_programmed) == (32, 2048)
    read = drive.execute(Read(0), 2.0)
    assert read.end_s == pytest.approx(2.0 + (3 + 1 + 8) * MS)
    assert (read.detail.pages_read, read.detail.bytes_read) == (32, 2048)
    done = drive.execute(Attend(0, key[:, :, 0], key[:, :, 0], key[:, :, 0], np.array([33]), 0.5), 3.0)
    assert done.end_s == pytest.approx(3.0 + (3 + 1 + 8) * MS)
    assert done.detail.channel_s == pytest.approx(8 * MS)
    assert done.detail.engine_s == pytest.approx((2048 + 64) / 1e9)
    assert done.detail.compute_s > 0.0
    health = drive.execute(Health(), 4.0)
    assert health.end_s == pytest.approx(4.003)
    assert health.value.channel_busy_s == pytest.approx((24 * MS,) * 4)
    assert health.value.program_busy_s == pytest.approx((40 * MS,) * 4)
    assert health.value.engine_busy_s == pytest.approx(done.detail.engine_s)


def test_flushes_of_decode_run_behind_the_answer() -> None:
    drive = configured(batch_size=1, num_layers=1)
    key = tokens(np.random.default_rng(0), 1, 2, 7, 4)
    drive.execute(Write(0, key, key, np.array([0])), 0.0)
    new = key[:, :, 0]
    flushing = drive.execute(Attend(0, new, new, new, np.array([8]), 0.5), 1.0)
    assert flushing.detail.pages_programmed == 4
    assert flushing.end_s == pytest.approx(1.002)
    following = drive.execute(Attend(0, new, new, new, np.array([9]), 0.5), flushing.end_s)
    assert following.detail.pages_read == 8
    assert following.end_s - flushing.end_s == pytest.approx(3 * MS)


def test_reclaim_erases_in_the_background() -> None:
    drive = configured(batch_size=1, num_layers=1)
    key = tokens(np.random.default_rng(0), 1, 2, 32, 4)
    drive.execute(Write(0, key, key, np.array([0])), 0.0)
    done = drive.execute(Reclaim(), 1.0)
    assert done.end_s == 1.0
    assert drive.execute(Health(), 1.0).value.program_busy_s == pytest.approx((0.04 + 0.1,) * 4)


RETRIES = FaultSpec(read_retries_mean=1.0, read_retries_max=1)


def test_a_retry_near_the_end_of_a_read_is_exposed() -> None:
    """Every page is read twice; the last one has nothing to hide its second sense behind."""
    throttle = Throttle(spec(t_read_s=5 * MS, planes_per_die=8, faults=RETRIES), "csd0")
    assert throttle.read(0.0, pages(1)).end_s == pytest.approx((5 + 1 + 5 + 1) * MS)
    assert throttle.read_retries == 1
    throttle = Throttle(spec(t_read_s=5 * MS, planes_per_die=8, faults=RETRIES), "csd0")
    assert throttle.read(0.0, pages(3, 1)).end_s == pytest.approx((5 + 3 + 5 + 1) * MS)
    assert throttle.read_retries == 4


def test_a_retry_in_the_middle_costs_its_transfer_alone() -> None:
    throttle = Throttle(spec(t_read_s=5 * MS, planes_per_die=8, faults=RETRIES), "csd0")
    span = throttle.read(0.0, pages(10))
    assert span.end_s == pytest.approx((5 + 20) * MS)
    assert span.busy_s == pytest.approx(20 * MS)


def test_retries_take_senses_where_the_dies_are_the_bound() -> None:
    throttle = Throttle(spec(t_read_s=6 * MS, faults=RETRIES), "csd0")  # 2 planes: a page every 3 ms
    assert throttle.read(0.0, pages(11)).end_s == pytest.approx((6 + 21 * 3 + 1) * MS)


def test_a_page_that_is_read_again_and_again_waits_for_every_sense() -> None:
    faults = FaultSpec(read_retries_mean=3.0, read_retries_max=3)
    throttle = Throttle(spec(t_read_s=5 * MS, planes_per_die=8, faults=faults), "csd0")
    assert throttle.read(0.0, pages(1)).end_s == pytest.approx(4 * (5 + 1) * MS)
    assert throttle.read_retries == 3


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(0, 60), min_size=4, max_size=4),
    seed=st.integers(0, 99),
    t_read=st.integers(1, 9),
)
def test_retries_take_at_least_their_transfers_and_at_most_everything_one_by_one(
    counts: list[int], seed: int, t_read: int
) -> None:
    drive = spec(t_read_s=t_read * MS, faults=FaultSpec(seed=seed, read_retries_mean=0.2))
    plain = Throttle(dataclasses.replace(drive, faults=None), "csd0").read(0.0, pages(*counts))
    throttle = Throttle(drive, "csd0")
    end_s = throttle.read(0.0, pages(*counts)).end_s
    assert plain.end_s - 1e-12 <= end_s <= plain.end_s + throttle.read_retries * (t_read + 1) * MS + 1e-12
    busy_s = sum(channel.busy_s for channel in throttle.channels)
    assert busy_s >= (sum(counts) + throttle.read_retries) * MS - 1e-12
