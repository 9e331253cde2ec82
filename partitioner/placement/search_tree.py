"""A tree of branch and bound that may be left and grown on later."""

from __future__ import annotations

from dataclasses import dataclass

from partitioner.placement.learned_split import Learned
from partitioner.placement.open_nodes import OpenNodes

DIVE, DIVES = 250, 1000
"""Of so many nodes of a tree that learns the last so many lead down, to where all sums are whole; the first ones of any tree
do where no placement is known."""


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

    def leads_down(self, *, known: bool) -> bool:
        """Tells whether the newest node comes next, and not the one of least bound.

        Args:
            known: Whether a placement is known.
        """
        of_so_many = self.num_nodes % DIVES
        return (self.learned is not None and of_so_many >= DIVES - DIVE) or (not known and of_so_many < DIVE)
