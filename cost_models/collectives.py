"""Exchanges among the GPUs of one host, as rings.

In a ring of n GPUs every one sends an n-th of the value to its neighbour in each of n - 1 rounds, after which all parts are
added up or have come round; an all-reduce does both. Each round ends with its slowest link.

References:
    Patarasuk, Yuan: Bandwidth optimal all-reduce algorithms for clusters of workstations, JPDC 69(2), 2009.
"""

from collections import Counter
from typing import Literal

from cost_models.checks import require_non_negative
from cost_models.cost import Cost
from cost_models.hardware import HardwareSpec
from cost_models.links import Hop, path_kinds, route

PEER = "peer"
"""Name of the link of every GPU to the others of its host, such as NVLink; without it they use their ways to host memory."""


def collective_cost(hw: HardwareSpec, kind: Literal["all_reduce", "all_gather"], num_bytes: float) -> Cost:
    """Returns the time of one exchange among all GPUs, on links that are otherwise idle.

    Args:
        hw: The system.
        kind: ``all_reduce`` or ``all_gather``.
        num_bytes: Of the whole value, which every GPU has in the end.
    """
    require_non_negative("num_bytes", num_bytes)
    num_gpus = len(hw.gpus)
    if num_gpus == 1 or not num_bytes:
        return Cost(0.0, "link")
    rounds = (num_gpus - 1) * (2 if kind == "all_reduce" else 1)
    part = num_bytes / num_gpus
    if any(link.name == PEER for link in hw.links):
        peer = hw.link(PEER)
        return Cost(rounds * (part / peer.bytes_per_s + peer.latency_s), "link")
    loads: Counter[Hop] = Counter()
    latency_s = 0.0
    for index in range(num_gpus):
        src, dst = f"gpu{index}", f"gpu{(index + 1) % num_gpus}"
        hops = route(hw, src, dst, path_kinds(hw, src, dst)[0])
        loads.update(hops)
        latency_s = max(latency_s, sum(hw.link(name).latency_s for name, _ in hops))
    busiest_s = max(load * part / hw.link(name).bytes_per_s for (name, _), load in loads.items())
    return Cost(rounds * (busiest_s + latency_s), "link")
