"""The time in which the GPUs of a host exchange a value: round by round, over the links between neighbours of a ring.

Emulated GPUs are held to this; it shares rates with the predictions and no code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cost_models.components import ComputeSpec
from cost_models.hardware import HardwareSpec
from cost_models.links import Hop, path_kinds, route
from partitioner.ir.tensor_parallel import Collective
from runtime.demand import Demand

_PEER = "peer"


@dataclass(frozen=True)
class ExchangingDemand:
    """Holds what a segment demands of several GPUs together, and how long they exchange for it.

    Attributes:
        own: What their memories and arithmetic have to do.
        exchange_s: Seconds of all exchanges.
    """

    own: Demand
    exchange_s: float

    def seconds(self, spec: ComputeSpec) -> float:
        """Returns how long GPUs take, the launch included, whose rates are added up."""
        return self.own.seconds(spec) + self.exchange_s


def exchange_s(hw: HardwareSpec, collectives: Iterable[Collective]) -> float:
    """Returns the seconds of exchanges, one after the other.

    A round has every GPU send one part to the next. An all-reduce goes round twice: once to add up, once to hand out.
    """
    count, total_s = len(hw.gpus), 0.0
    if count == 1:
        return total_s
    ways = _ways(hw)
    for collective in collectives:
        turns = 2 if collective.kind == "all_reduce" else 1
        total_s += turns * (count - 1) * _round_s(hw, ways, collective.num_bytes / count)
    return total_s


def _ways(hw: HardwareSpec) -> list[tuple[Hop, ...]]:
    """Returns the links on which each GPU sends to the next one; of links between GPUs each has its own: one stands for all."""
    if any(link.name == _PEER for link in hw.links):
        return [((_PEER, "up"),)]
    names = [f"gpu{n}" for n in range(len(hw.gpus))]
    pairs = zip(names, [*names[1:], names[0]], strict=True)
    return [route(hw, src, dst, path_kinds(hw, src, dst)[0]) for src, dst in pairs]


def _round_s(hw: HardwareSpec, ways: list[tuple[Hop, ...]], part_bytes: float) -> float:
    """Returns the seconds until the last part has arrived; a link that several parts pass has them one after the other."""
    if not part_bytes:
        return 0.0
    busy: dict[Hop, float] = {}
    for hop in (hop for way in ways for hop in way):
        busy[hop] = busy.get(hop, 0.0) + part_bytes / hw.link(hop[0]).bytes_per_s
    return max(busy.values()) + max(sum(hw.link(link).latency_s for link, _ in way) for way in ways)
