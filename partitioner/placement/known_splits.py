"""Remembers the ways to share attentions, which modes and policies have in common."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from partitioner.placement.split_costs import SplitCosts
from partitioner.placement.split_variants import SplitVariants


@dataclass(frozen=True)
class KnownSplits:
    """Remembers the ways to share attentions that any mode has asked for.

    Attributes:
        costs: What splits cost, by what answered, class and tiers.
        variants: The same as variants, by the indices of what they load besides.
    """

    costs: dict[Hashable, SplitCosts] = field(default_factory=dict)
    variants: dict[Hashable, SplitVariants] = field(default_factory=dict)
