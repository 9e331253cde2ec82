"""The ways to share one attention of a decode among GPU, host and drives, with the KV cache living in the same shares.

The GPU hands q and the new k and v to the others and takes in their outputs; all shares attend at the same time, so a step
waits for the slowest. Numbers per tier are worked out once for each number of units, and a split adds them up.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from partitioner.costing import Costing
from partitioner.ir.op import Attention
from partitioner.shares import Share
from partitioner.tier_links import TIERS, Tier

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SplitCosts:
    """Holds what splits cost in all decode steps of one micro-batch, the steps at about one context length together.

    Which share is the slowest depends on the context: drives and host read what there is, the GPU's kernel all there may be.

    Attributes:
        units: ``[splits, tiers]``: the units that each tier has of each split.
        gpu_s: ``[contexts, splits]``: the seconds of the GPU's share.
        others_s: ``[contexts, splits]``: the seconds until the slowest of the other shares is done, from the operands to the
            output.
        resume_s: Seconds to launch what follows, over all contexts.
        working_s: ``[splits, tiers]``: the seconds in which a tier's devices work, added up over drives.
    """

    units: NDArray[np.int64]
    gpu_s: Floats
    others_s: Floats
    resume_s: float
    working_s: Floats


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
) -> SplitCosts:
    """Returns what every split of an attention over some tiers costs.

    Args:
        costing: Answers what things cost; knows the rows of a micro-batch.
        attention: What the decode's op does.
        tiers: Tiers that may attend.
        contexts: (context length, decode steps at about that length).
        num_rows: Rows that the op was traced with.
    """
    units = _units(costing.grid(attention).num_units, tiers)
    shape = (len(contexts), len(units))
    seconds = dict.fromkeys(TIERS, np.zeros(shape))
    working_s = np.zeros(units.shape)
    for column, tier in enumerate(TIERS):
        if tier in tiers:
            numbers, place = np.unique(units[:, column], return_inverse=True)
            parts = _parts(costing, attention, tier, numbers.tolist(), contexts, num_rows)
            times = np.array([part.seconds for part in parts]).reshape(len(parts), len(contexts))
            seconds[tier] = times[place].T
            working_s[:, column] = np.array([part.working_s for part in parts])[place]
    resume_s = sum(weight for _, weight in contexts) * costing.launch_s("gpu")
    working_s[:, 0] += resume_s
    return SplitCosts(units, seconds["gpu"], np.maximum(seconds["host"], seconds["csd"]), resume_s, working_s)


def _units(num_units: int, tiers: Sequence[Tier]) -> NDArray[np.int64]:
    """Returns all ways to give whole units to tiers, those with more on earlier tiers first, ``[splits, tiers]``."""
    *free, last = (column for column, tier in enumerate(TIERS) if tier in tiers)
    given = np.array(list(itertools.product(range(num_units, -1, -1), repeat=len(free))), np.int64)
    left = num_units - given.sum(axis=1)
    found = np.zeros((len(given), len(TIERS)), np.int64)
    found[:, free], found[:, last] = given, left
    return found[left >= 0]


def _parts(
    costing: Costing,
    attention: Attention,
    tier: Tier,
    numbers: Sequence[int],
    contexts: Sequence[tuple[int, float]],
    num_rows: int,
) -> list[_Part]:
    """Returns what some numbers of units cost on a tier."""
    grid = costing.grid(attention)
    scale = costing.rows / num_rows
    parts: list[_Part] = []
    known: dict[tuple[str, int, int], list[float]] = {}
    for units in numbers:
        if not units:
            parts.append(_Part((0.0,) * len(contexts), 0.0))
            continue
        counts: Counter[tuple[int, int]] = Counter()
        shares: dict[tuple[int, int], Share] = {}
        for share in costing.split_shares(attention, ((tier, units),)):
            size = (share.num_rows, share.num_kv_heads)
            counts[size] += 1
            shares[size] = share
        launch_s = costing.launch_s(tier)
        share_s: dict[tuple[int, int], list[float]] = {}
        for size, share in shares.items():
            if (share.device, *size) not in known:
                known[share.device, *size] = _share_s(costing, attention, share, contexts)
            share_s[size] = [seconds + launch_s for seconds in known[share.device, *size]]
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
