"""A tree of branch and bound, with what is branched on in it."""

from __future__ import annotations

from dataclasses import dataclass

from partitioner.placement.learned_split import Learned
from partitioner.placement.open_nodes import OpenNodes


@dataclass
class SearchTree:
    """Keeps a tree.

    Attributes:
        nodes: Those that wait.
        learned: What is branched on, if it is learned; else it goes by ranks.
        least: The rank below which nothing is branched on as long as a sum of this rank, or above, is fractional.
        most_sums: So many sums there may be for it to have more made.
        num_nodes: How many were looked at.
        num_leaves: At how many of them all sums were whole.
    """

    nodes: OpenNodes
    learned: Learned | None
    least: int
    most_sums: int
    num_nodes: int = 0
    num_leaves: int = 0
