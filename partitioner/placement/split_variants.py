"""The ways to share one attention of a decode among GPU, host and drives, with the KV cache living in the same shares.

The GPU hands q and the new k and v to the others and takes in their outputs; all shares attend at the same time, so a step
waits for the slowest. Numbers per tier are worked out once for each number of units, and a split adds them up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from partitioner.costing import Costing
from partitioner.ir.op import Attention
from partitioner.shares import Share
from partitioner.split_grid import Split
from partitioner.tier_links import TIERS, Tier


@dataclass(frozen=True)
class SplitCost:
    """Holds what one split costs in all decode steps of one micro-batch, the steps at about one context length together.

    Which share is the slowest depends on the context: drives and host read what there is, the GPU's kernel all there may be.

    Attributes:
        split: The split.
        gpu_s: For each context length the seconds of the GPU's share.
        others_s: Likewise the seconds until the slowest of the other shares is done, from the operands to the output.
        resume_s: Seconds to launch what follows, over all contexts.
        working_s: For each tier the seconds in which its devices work, added up over drives.
    """

    split: Split
    gpu_s: tuple[float, ...]
    others_s: tuple[float, ...]
    resume_s: float
    working_s: tuple[float, ...]


class _Part(NamedTuple):
    """Holds what some units of an attention cost on a tier: at each context, times the steps there, and for its devices."""

    seconds: tuple[float, ...]
    working_s: float


def split_costs(
    costing: Costing,
    attention: Attention,
    tiers: Sequence[Tier],
    contexts: Sequence[tuple[int, float]],
    num_rows: int,
) -> Iterator[SplitCost]:
    """Yields every split of an attention over some tiers.

    Args:
        costing: Answers what things cost; knows the rows of a micro-batch.
        attention: What the decode's op does.
        tiers: Tiers that may attend.
        contexts: (context length, decode steps at about that length).
        num_rows: Rows that the op was traced with.
    """
    grid = costing.grid(attention)
    parts = {tier: _parts(costing, attention, tier, contexts, num_rows) for tier in tiers}
    resume_s = costing.launch_s("gpu")
    steps = sum(weight for _, weight in contexts)
    nothing = (0.0,) * len(contexts)
    for split in _splits(grid.num_units, tiers):
        gpu_s = next((parts[tier][units].seconds for tier, units in split if tier == "gpu"), nothing)
        others = [parts[tier][units].seconds for tier, units in split if tier != "gpu"]
        others_s = tuple(map(max, *others)) if len(others) > 1 else (*others, nothing)[0]
        own = {tier: parts[tier][units].working_s for tier, units in split}
        own["gpu"] = own.get("gpu", 0.0) + steps * resume_s
        working = tuple(own.get(tier, 0.0) for tier in TIERS)
        yield SplitCost(split, gpu_s, others_s, steps * resume_s, working)


def _splits(num_units: int, tiers: Sequence[Tier]) -> Iterator[Split]:
    """Yields all ways to give whole units to tiers, those with more on earlier tiers first."""
    ordered = [tier for tier in TIERS if tier in tiers]

    def rest(left: int, position: int) -> Iterator[Split]:
        if position == len(ordered) - 1:
            yield ((ordered[position], left),) if left else ()
            return
        for units in range(left, -1, -1):
            own = ((ordered[position], units),) if units else ()
            for others in rest(left - units, position + 1):
                yield own + others

    yield from rest(num_units, 0)


def _parts(
    costing: Costing,
    attention: Attention,
    tier: Tier,
    contexts: Sequence[tuple[int, float]],
    num_rows: int,
) -> list[_Part]:
    """Returns what every number of units costs on a tier, from none to all."""
    grid = costing.grid(attention)
    scale = costing.rows / num_rows
    parts = [_Part((0.0,) * len(contexts), 0.0)]
    for units in range(1, grid.num_units + 1):
        counts: Counter[tuple[int, int]] = Counter()
        shares: dict[tuple[int, int], Share] = {}
        for share in costing.split_shares(attention, ((tier, units),)):
            size = (share.num_rows, share.num_kv_heads)
            counts[size] += 1
            shares[size] = share
        launch_s = costing.launch_s(tier)
        share_s = {
            size: [seconds + launch_s for seconds in _share_s(costing, attention, share, contexts)]
            for size, share in shares.items()
        }
        attend_s = [max(times) for times in zip(*share_s.values(), strict=True)]
        working_s = sum(
            counts[size] * weight * seconds
            for size, times in share_s.items()
            for (_, weight), seconds in zip(contexts, times, strict=True)
        )
        way_s = costing.hand_out_s(attention, tier, scale * units / grid.num_units)
        seconds = tuple(w * (s + way_s) for (_, w), s in zip(contexts, attend_s, strict=True))
        parts.append(_Part(seconds, working_s))
    return parts


def _share_s(
    costing: Costing, attention: Attention, share: Share, contexts: Sequence[tuple[int, float]]
) -> list[float]:
    """Returns the seconds of a share at each context length; a GPU's kernel takes the same at all of them."""
    same = share.device.startswith("gpu")
    asked = contexts[:1] if same else contexts
    found = [costing.share_attend_cost(attention, share, length).seconds for length, _ in asked]
    return found * len(contexts) if same else found
