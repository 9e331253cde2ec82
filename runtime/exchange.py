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
    rounds = _Rounds(hw)
    for collective in collectives:
        turns = 2 if collective.kind == "all_reduce" else 1
        total_s += sum(rounds.seconds(collective.num_bytes / count) for _ in range(turns * (count - 1)))
    return total_s


class _Rounds:
    """Times rounds in which every GPU sends to the next one, all at once."""

    def __init__(self, hw: HardwareSpec) -> None:
        self._rates = {link.name: link.bytes_per_s for link in hw.links}
        self._latencies = {link.name: link.latency_s for link in hw.links}
        names = [f"gpu{n}" for n in range(len(hw.gpus))]
        self._ways: list[tuple[Hop, ...]] = []
        for sender, receiver in zip(names, [*names[1:], names[0]], strict=True):
            if _PEER in self._rates:
                self._ways.append(((_PEER, "up"),))
            elif sender != receiver:
                self._ways.append(route(hw, sender, receiver, path_kinds(hw, sender, receiver)[0]))

    def seconds(self, part_bytes: float) -> float:
        """Returns the seconds until the last part has arrived; a link that several parts pass has them one after the other."""
        if not part_bytes:
            return 0.0
        busy: dict[Hop, float] = {}
        for way in self._ways:
            for hop in way:
                before = (
                    0.0 if hop[0] == _PEER else busy.get(hop, 0.0)
                )  # every GPU has a peer link of its own
                busy[hop] = before + part_bytes / self._rates[hop[0]]
        late = max(sum(self._latencies[link] for link, _ in way) for way in self._ways)
        return max(busy.values()) + late
