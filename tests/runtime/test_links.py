"""Transfers queue on the links they share."""

import pytest

from cost_models import route
from runtime.event_log import EventLog
from runtime.links import Links
from tests.runtime.tiny_models import demo_hardware

GPU, DRIVE, LATENCY = 160e6, 35e6, 0.2e-3


def test_a_transfer_takes_the_slowest_link_and_all_latencies() -> None:
    hw = demo_hardware()
    log = EventLog()
    transfer = Links(hw, log).transfer(route(hw, "gpu0", "csd0", "p2p"), 35_000, 1.0, "k", "decode")
    assert transfer.begin_s == 1.0
    assert transfer.arrival_s == pytest.approx(1.0 + 2 * LATENCY)
    assert transfer.end_s == pytest.approx(1.0 + 35_000 / DRIVE + 2 * LATENCY)
    events = {e.resource: e for e in log.take(1.0).events}
    assert set(events) == {"gpu0.up", "csd0.down"}
    assert events["gpu0.up"].end_s == pytest.approx(35_000 / GPU)
    assert events["csd0.down"].num_bytes == 35_000


def test_transfers_queue_on_a_shared_link_only() -> None:
    hw = demo_hardware(2)
    links = Links(hw, EventLog())
    size = 350_000
    first = links.transfer(route(hw, "csd0", "gpu0", "p2p"), size, 0.0, "a", "decode")
    second = links.transfer(route(hw, "csd1", "gpu0", "p2p"), size, 0.0, "b", "decode")
    again = links.transfer(route(hw, "csd0", "gpu0", "p2p"), size, 0.0, "c", "decode")
    own = size / DRIVE + 2 * LATENCY
    assert first.end_s == second.end_s == pytest.approx(own)  # gpu0.down carries both in less than that
    assert again.end_s == pytest.approx(own + size / DRIVE)


def test_many_drives_are_held_up_by_the_shared_link() -> None:
    hw = demo_hardware(8)
    links = Links(hw, EventLog())
    size = 160_000
    ends = [
        links.transfer(route(hw, f"csd{i}", "gpu0", "p2p"), size, 0.0, "a", "decode").end_s for i in range(8)
    ]
    assert max(ends) == pytest.approx(8 * size / GPU + 2 * LATENCY)


def test_both_directions_are_independent() -> None:
    hw = demo_hardware()
    links = Links(hw, EventLog())
    up = links.transfer(route(hw, "csd0", "host", "via_host"), 35e6, 0.0, "a", "decode")
    down = links.transfer(route(hw, "host", "csd0", "via_host"), 35e6, 0.0, "b", "decode")
    assert up.end_s == down.end_s == pytest.approx(1.0 + LATENCY)


def test_nothing_takes_no_time() -> None:
    hw = demo_hardware()
    links = Links(hw, EventLog())
    assert links.transfer(route(hw, "gpu0", "csd0", "p2p"), 0, 3.0, "a", "decode").end_s == 3.0
    assert links.transfer((), 100, 3.0, "a", "decode").end_s == 3.0
