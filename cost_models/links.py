"""Transfers over the tree of links whose root is host memory.

A transfer is cut into chunks that travel the links of its route as in a pipeline, so its time is that of the
slowest link plus the latencies of all. Each link carries both directions at full rate: ``up`` is towards the
root, ``down`` away from it.
"""

from collections.abc import Mapping
from typing import Literal

from cost_models.checks import require_non_negative
from cost_models.cost import Cost
from cost_models.errors import HardwareError
from cost_models.hardware import HardwareSpec

PathKind = Literal["p2p", "via_host"]
Direction = Literal["up", "down"]
Hop = tuple[str, Direction]


def path_kinds(hw: HardwareSpec, src: str, dst: str) -> tuple[PathKind, ...]:
    """Returns the ways between two different devices, the preferred one first; none within one device.

    What starts or ends in host memory is ``via_host``; other pairs may talk peer to peer where the
    system can.
    """
    for device in (src, dst):
        hw.device(device)
    if src == dst:
        return ()
    if "host" in (src, dst) or not hw.p2p:
        return ("via_host",)
    return ("p2p", "via_host")


def route(hw: HardwareSpec, src: str, dst: str, path: PathKind) -> tuple[Hop, ...]:
    """Returns the links a transfer passes, in order, each with its direction.

    A peer-to-peer transfer turns round at the lowest switch above both devices; one through host memory
    goes up to the root and down again. Within one device there are no links to pass.

    Raises:
        HardwareError: An unknown device, or a path that the two devices do not have.
    """
    kinds = path_kinds(hw, src, dst)
    if not kinds:
        return ()
    if path not in kinds:
        raise HardwareError(f"{hw.name}: no path {path!r} from {src} to {dst}; available: {', '.join(kinds)}")
    upward, downward = list(hw.ports[src]), list(hw.ports[dst])
    if path == "p2p":
        while upward and downward and upward[-1] == downward[-1]:
            upward.pop()
            downward.pop()
    up: list[Hop] = [(link, "up") for link in upward]
    down: list[Hop] = [(link, "down") for link in reversed(downward)]
    return (*up, *down)


def transfer_cost(hw: HardwareSpec, num_bytes: float, src: str, dst: str, path: PathKind) -> Cost:
    """Returns the time of one transfer on links that are otherwise idle.

    Returns:
        ``bytes / slowest rate + sum of latencies``; zero within one device and for zero bytes.
    """
    require_non_negative("num_bytes", num_bytes)
    hops = route(hw, src, dst, path)
    if not hops or not num_bytes:
        return Cost(0.0, "link")
    rate = min(hw.link(name).bytes_per_s for name, _ in hops)
    return Cost(num_bytes / rate + _latency_s(hw, hops), "link")


def parallel_transfer_cost(
    hw: HardwareSpec,
    bytes_by_device: Mapping[str, float],
    peer: str,
    path: PathKind,
    towards_peer: bool = True,
) -> Cost:
    """Returns the time in which several devices exchange data with one peer, all at once.

    Args:
        hw: The system.
        bytes_by_device: Bytes of each device, usually of each drive.
        peer: The device at the other end, usually a GPU.
        path: ``"p2p"`` or ``"via_host"``.
        towards_peer: True to send to the peer, false to receive from it.

    Returns:
        The time of the busiest link, which carries the sum of what passes it, plus the longest latency.
    """
    loads: dict[Hop, float] = {}
    latency_s = 0.0
    for device, num_bytes in bytes_by_device.items():
        require_non_negative(f"bytes of {device}", num_bytes)
        if not num_bytes:
            continue
        src, dst = (device, peer) if towards_peer else (peer, device)
        hops = route(hw, src, dst, path)
        latency_s = max(latency_s, _latency_s(hw, hops))
        for hop in hops:
            loads[hop] = loads.get(hop, 0.0) + num_bytes
    busiest_s = max((load / hw.link(name).bytes_per_s for (name, _), load in loads.items()), default=0.0)
    return Cost(busiest_s + latency_s, "link")


def _latency_s(hw: HardwareSpec, hops: tuple[Hop, ...]) -> float:
    """Adds up the latencies along a route."""
    return sum(hw.link(name).latency_s for name, _ in hops)
