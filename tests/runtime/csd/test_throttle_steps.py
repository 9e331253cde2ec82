"""Times of sparse attention worked out by hand: as in test_throttle, a page takes 1 ms to sense and 1 ms on a channel."""

import dataclasses

import numpy as np
import pytest

from runtime.csd import Attend, Configure, Drive, Sparse, Write
from runtime.csd.sparse import TwoSteps
from runtime.csd.throttle import Occupied, Throttle

from .drives import ENGINE, spec, tokens

MS = 1e-3


def pages(*counts: int) -> np.ndarray:
    return np.array([*counts, *[0] * (4 - len(counts))])


def attended(
    one: np.ndarray,
    two: np.ndarray,
    pairs: int,
    exact: np.ndarray | None = None,
    setup_s: float = 0.0,
    start_s: float = 0.0,
) -> tuple[Occupied, Throttle]:
    """Returns the span of a sparse attention, and the throttle that it occupied."""
    throttle = Throttle(spec(engine=dataclasses.replace(ENGINE, setup_s=setup_s)), "csd0")
    others = pages() if exact is None else exact
    span, _ = throttle.attend(start_s, others, 0.0, 0, 0, TwoSteps(one, two, pairs, 0))
    return span, throttle


def test_one_pair_reads_one_step_after_the_other() -> None:
    """1 sense + 10 pages, the choice, 1 sense + 4 pages."""
    span, throttle = attended(pages(10), pages(4), pairs=1)
    assert span.end_s == pytest.approx((1 + 10 + 1 + 4) * MS)
    assert span.busy_s == pytest.approx(14 * MS)
    assert throttle.channels[0].busy_s == pytest.approx(14 * MS)
    # Both steps pass the engine's pipeline.
    assert attended(pages(10), pages(4), 1, setup_s=3 * MS)[0].end_s == pytest.approx((16 + 3 + 3) * MS)


def test_one_pair_waits_for_its_slowest_channel() -> None:
    assert attended(pages(2, 10), pages(4), pairs=1)[0].end_s == pytest.approx((11 + 1 + 4) * MS)
    assert attended(pages(0, 10), pages(4), pairs=1)[0].end_s == pytest.approx((11 + 1 + 4) * MS)


def test_choices_of_many_pairs_hide_behind_transfers() -> None:
    """The last pair is left: 1 sense and its 2 of 40 pages behind all of step one, which step two's transfers cover."""
    assert attended(pages(100), pages(40), pairs=20)[0].end_s == pytest.approx((1 + 140) * MS)
    assert attended(pages(100), pages(40), 20, setup_s=5 * MS)[0].end_s == pytest.approx((141 + 5) * MS)


def test_the_first_pair_holds_up_a_step_two_on_a_free_channel() -> None:
    """Channel 1 has nothing to do in step one: it waits for 1 sense and the first pair's 5 of 10 pages, then senses."""
    span, throttle = attended(pages(10), pages(0, 30), pairs=2)
    assert span.end_s == pytest.approx((1 + 5 + 1 + 30) * MS)
    assert throttle.channels[1].busy_s == pytest.approx(30 * MS)


def test_the_last_pair_holds_up_the_end() -> None:
    """All of step one takes 101 ms; the last pair's 1 of 2 pages follows, although channel 1 is free since long."""
    assert attended(pages(100), pages(0, 2), pairs=2)[0].end_s == pytest.approx((101 + 1 + 1) * MS)


def test_exact_sequences_fill_the_wait_for_a_choice() -> None:
    """10 pages of step one, then 5 that wait for nothing; step two's sense hides behind them."""
    span, _ = attended(pages(10), pages(4), 1, exact=pages(5))
    assert span.end_s == pytest.approx((1 + 10 + 5 + 4) * MS)
    assert span.busy_s == pytest.approx(19 * MS)


def test_without_a_page_in_step_one_only_the_pipeline_is_waited_for() -> None:
    assert attended(pages(), pages(4), 3, setup_s=2 * MS)[0].end_s == pytest.approx((2 + 1 + 4 + 2) * MS)
    assert attended(pages(), pages(), 3, setup_s=2 * MS, start_s=1.0)[0].end_s == pytest.approx(1.0 + 2 * MS)


def test_pages_of_both_steps_pass_the_filters() -> None:
    engine = dataclasses.replace(ENGINE, bytes_per_s=64 / (5 * MS))  # a page takes 5 ms
    throttle = Throttle(spec(engine=engine), "csd0")
    _, engine_s = throttle.attend(0.0, pages(1), 0.0, 0, 0, TwoSteps(pages(10), pages(4), 1, 0))
    assert engine_s == pytest.approx(15 * 5 * MS)


def test_a_command_takes_both_steps() -> None:
    """2 heads of 4 channels, 32 tokens; r = 4 and k = 8 newest: 2 pages of each of 4 groups, then 2 of K and 2 of V."""
    drive = Drive(spec())
    drive.execute(Configure(1, 2, 2, 4, np.dtype(np.float32), 1, 40, channel_group=2), 0.0)
    key = tokens(np.random.default_rng(0), 1, 2, 32, 4)
    drive.execute(Write(0, key, key, np.array([0])), 0.0)
    sparse = Sparse(4, np.array([8]), np.array([8]), mean_value=False)
    done = drive.execute(Attend(0, key[:, :, 0], None, None, np.array([32]), 0.5, sparse=sparse), 10.0)
    assert (done.detail.pages_step_one, done.detail.pages_step_two) == (16, 8)
    flops = 2 * (2 * 32 * 4 + 4 * 8 * 4)
    assert done.detail.engine_s == pytest.approx(max(flops, 24 * 64) / 1e9)
    # 4 pages of step one and 2 of step two on each channel, at best, in two senses where nothing else hides the second.
    assert done.detail.channel_s >= 6 * MS
    assert done.end_s >= 10.0 + (1 + 6) * MS
