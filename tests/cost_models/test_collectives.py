"""Exchanges among GPUs, worked out by hand for rings."""

import dataclasses

import pytest

from cost_models import HardwareSpec, LinkSpec, collective_cost
from cost_models.errors import CostModelError
from tests.cost_models.systems import is_cost, system


def test_gpus_send_over_their_ways_to_host_memory() -> None:
    hw = system().with_gpus(4)  # 16 GB/s and 1 us a link
    rounds = 3
    assert is_cost(collective_cost(hw, "all_gather", 64e6), rounds * (16e6 / 16e9 + 2e-6), "link")
    assert is_cost(collective_cost(hw, "all_reduce", 64e6), 2 * rounds * (16e6 / 16e9 + 2e-6), "link")


def test_without_peer_to_peer_it_takes_as_long_on_links_of_both_directions() -> None:
    assert collective_cost(system(p2p=False).with_gpus(2), "all_reduce", 1e6) == collective_cost(
        system().with_gpus(2), "all_reduce", 1e6
    )


def test_a_link_between_gpus_is_used_where_there_is_one() -> None:
    hw = HardwareSpec.load("h200-csd4").with_gpus(2)
    assert hw.link("peer") == LinkSpec(name="peer", bytes_per_s=450e9, latency_s=5e-6)
    assert is_cost(collective_cost(hw, "all_reduce", 9e6), 2 * (4.5e6 / 450e9 + 5e-6), "link")
    slower = hw.replace("link.peer.bytes_per_s", 45e9)
    assert is_cost(collective_cost(slower, "all_gather", 9e6), 4.5e6 / 45e9 + 5e-6, "link")


def test_a_shared_link_carries_every_part() -> None:
    hw = system().with_gpus(3)
    shared = dataclasses.replace(
        hw,
        links=(*hw.links, LinkSpec(name="switch", bytes_per_s=16e9, latency_s=0.0)),
        ports={**hw.ports, **{f"gpu{n}": (f"gpu{n}", "switch") for n in range(3)}},
        p2p=False,
    )
    own, through = (collective_cost(h, "all_gather", 48e6).seconds for h in (hw, shared))
    assert through - 2 * 2e-6 == pytest.approx(3 * (own - 2 * 2e-6))


def test_one_gpu_exchanges_nothing() -> None:
    assert is_cost(collective_cost(system(), "all_reduce", 1e9), 0.0, "link")
    assert is_cost(collective_cost(system().with_gpus(2), "all_reduce", 0), 0.0, "link")
    with pytest.raises(CostModelError, match="num_bytes"):
        collective_cost(system().with_gpus(2), "all_reduce", -1)
