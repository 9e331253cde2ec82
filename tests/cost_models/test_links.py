import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_models import (
    HardwareError,
    HardwareSpec,
    parallel_transfer_cost,
    path_kinds,
    route,
    transfer_cost,
)
from tests.cost_models.systems import is_cost, system


def test_path_kinds():
    assert path_kinds(system(), "gpu0", "csd0") == ("p2p", "via_host")
    assert path_kinds(system(p2p=False), "gpu0", "csd0") == ("via_host",)
    assert path_kinds(system(), "host", "csd0") == ("via_host",)
    assert path_kinds(system(), "csd0", "csd0") == ()


def test_routes():
    hw = system(switched=True)
    assert route(hw, "gpu0", "csd1", "p2p") == (("gpu0", "up"), ("switch0", "down"), ("csd1", "down"))
    assert route(hw, "csd0", "host", "via_host") == (("csd0", "up"), ("switch0", "up"))
    assert route(hw, "host", "gpu0", "via_host") == (("gpu0", "down"),)
    assert route(hw, "gpu0", "gpu0", "p2p") == ()


def test_peers_below_one_switch_turn_round_there():
    hw = system(switched=True)
    assert route(hw, "csd0", "csd1", "p2p") == (("csd0", "up"), ("csd1", "down"))
    assert len(route(hw, "csd0", "csd1", "via_host")) == 4


def test_path_that_is_not_there():
    with pytest.raises(HardwareError, match="no path 'p2p' from gpu0 to csd0; available: via_host"):
        route(system(p2p=False), "gpu0", "csd0", "p2p")
    with pytest.raises(HardwareError, match="no device 'csd9'"):
        route(system(), "gpu0", "csd9", "p2p")


def test_transfer_takes_the_slowest_link_and_all_latencies():
    assert is_cost(transfer_cost(system(), 4e9, "csd0", "gpu0", "p2p"), 1 + 3e-6, "link")
    assert transfer_cost(system(), 16e9, "host", "gpu0", "via_host").seconds == pytest.approx(1 + 1e-6)
    assert transfer_cost(system(), 0, "csd0", "gpu0", "p2p").seconds == 0
    assert transfer_cost(system(), 1e9, "gpu0", "gpu0", "p2p").seconds == 0
    with pytest.raises(HardwareError, match="num_bytes"):
        transfer_cost(system(), -1, "csd0", "gpu0", "p2p")


def test_one_token_of_opt_13b_from_an_ssd():
    # batch 64, 2048 tokens, one layer: 64 x 2048 x 2 x 5120 x 2 B = 2.68 GB over 7 GB/s
    num_bytes = 64 * 2048 * 2 * 5120 * 2
    cost = transfer_cost(HardwareSpec.load("a6000-ssd"), num_bytes, "csd0", "gpu0", "via_host")
    assert cost.seconds == pytest.approx(num_bytes / 7e9, rel=1e-4)


def test_a_gang_is_limited_by_its_own_links_or_by_what_it_shares():
    hw = system(num_drives=6)
    each = {f"csd{index}": 4e9 for index in range(3)}
    assert parallel_transfer_cost(hw, each, "gpu0", "p2p").seconds == pytest.approx(1 + 3e-6)
    each = {f"csd{index}": 4e9 for index in range(6)}  # 24 GB through the GPU's 16 GB/s
    assert parallel_transfer_cost(hw, each, "gpu0", "p2p").seconds == pytest.approx(1.5 + 3e-6)


def test_a_gang_below_a_switch_shares_its_uplink():
    hw = system(num_drives=3, switched=True)
    each = {f"csd{index}": 4e9 for index in range(3)}
    for towards in (True, False):
        cost = parallel_transfer_cost(hw, each, "gpu0", "p2p", towards_peer=towards)
        assert is_cost(cost, 2 + 6e-6, "link")
    assert parallel_transfer_cost(hw, {"csd0": 0}, "gpu0", "p2p").seconds == 0


@given(num_bytes=st.floats(1, 1e12), factor=st.floats(1, 100), path=st.sampled_from(["p2p", "via_host"]))
def test_a_faster_link_is_never_slower(num_bytes, factor, path):
    hw = system()
    base = transfer_cost(hw, num_bytes, "csd0", "gpu0", path).seconds
    for link in ("csd0", "gpu0"):
        fast = hw.replace(f"link.{link}.bytes_per_s", hw.link(link).bytes_per_s * factor)
        assert transfer_cost(fast, num_bytes, "csd0", "gpu0", path).seconds <= base


@given(num_bytes=st.floats(1, 1e12), factor=st.floats(1.1, 1e4))
def test_slowed_scales_transfers(num_bytes, factor):
    hw = system(switched=True)
    slow = transfer_cost(hw.slowed(factor), num_bytes, "csd0", "gpu0", "p2p").seconds
    assert slow == pytest.approx(factor * transfer_cost(hw, num_bytes, "csd0", "gpu0", "p2p").seconds)
