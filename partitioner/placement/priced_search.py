"""Branch and bound with columns that are made as they are asked for: for problems with too many routes to list.

At every node the relaxation over the columns known so far gives prices, and the cheapest ways through the blocks at these
prices either are columns it misses or prove its bound; so the bound counts for all placements, and there is no list of routes
or arcs to choose from. Sums are branched on (``count_sums``), and where a mixture keeps all of them whole, others that tell it
apart (``finer_sums``); layers that no walk comes to are ruled out on the way (``apart``). Placements are looked for at some of
the nodes (``incumbent``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from partitioner.placement.apart import apart_sums
from partitioner.placement.bounded_simplex import Basis, Ending, Floats, Vertex
from partitioner.placement.column_program import ColumnProgram
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.columns import ColumnPool
from partitioner.placement.count_sums import AWAY, CountSums
from partitioner.placement.exchange import Placement
from partitioner.placement.finer_sums import finer_sums
from partitioner.placement.folded import Folded
from partitioner.placement.fractional import fractional_split
from partitioner.placement.goal import Goal
from partitioner.placement.incumbent import Incumbent
from partitioner.placement.learned_split import Branch, Learned
from partitioner.placement.open_nodes import OpenNodes
from partitioner.placement.search_tree import SearchTree

MAX_NODES = 4000
SOME = 0.25
"""So many of these are enough where ways are few: what is left then a general solver settles sooner (``settle``)."""
NODE_ARCS = 6000
"""Problems with more arcs have as many fewer nodes, so that none takes many minutes."""
TRYING, LEARNING, RANKED = 0, 1, 2
Turns = tuple[tuple[int, float], ...]
"""Which tree is grown in turn, and up to which part of its most nodes."""
FIRST_TURNS: Turns = ((TRYING, 0.0125), (LEARNING, 0.025))
TURNS: Turns = (
    (TRYING, 0.05),
    (LEARNING, 0.1),
    (RANKED, 0.4),
    (LEARNING, 0.5),
    (RANKED, 1.0),
    (LEARNING, 1.0),
)
"""What is done first, which for many problems is enough, and in all."""
MAX_ROUNDS = 30
"""Rounds of prices of one node."""
EARLY, EVERY = (1, 2, 3, 5, 10), 25
"""Nodes after which a better placement is looked for: early ones, after which the first tree follows routes,
and from then on every so many."""
AMONG = (10, 100, 300, 1000, 2000, 3000)
"""Nodes after which all columns near those of the best placement are chosen among."""
MOST_FINER = 100
"""So many sums are made besides those of the problem."""
MOST_LEAVES, MOST_SETTLED = 100, 15
"""So many nodes at which all sums are whole have a placement looked for within them, and so many by a general solver."""


@dataclass(frozen=True)
class PricedFound:
    """Holds the outcome.

    Attributes:
        stages: For each stage its columns and how many instances make use of each; None where none is below the limit.
        bound: Lower bound on the goal's value.
        num_columns: How many columns were made.
    """

    stages: Placement | None
    bound: float
    num_columns: int


class PricedSearch:
    """Keeps the columns of a search, and its trees.

    Args:
        folded: The problem.
        goal: What is minimised.
        sums: What is branched on.
        pool: The columns of the solved relaxation.
        found: The best placement known, or a limit.
    """

    def __init__(
        self, folded: Folded, goal: Goal, sums: CountSums, pool: ColumnPool, found: Incumbent
    ) -> None:
        self._found = found
        program = ColumnProgram.of(folded, goal, found.value, ColumnSums.of(folded, sums), pool)
        self._program = found.added_to(program)
        self._trees = self._tree(Learned(np.inf), AWAY), self._tree(Learned(), 0), self._tree(None, AWAY)

    def search(self, turns: Turns = TURNS, *, briefly: bool = False) -> PricedFound:
        """Searches until the gap is small enough, or the trees have their most nodes.

        For some problems solving halves at every node tells what to branch on, for others what sums have done before, or their
        ranks; which it is is known only behind the search. So three trees are grown in turn, and the best bound counts.

        Args:
            turns: What is done; trees go on from where they were left.
            briefly: Whether they have few nodes.
        """
        most = MAX_NODES * min(1.0, NODE_ARCS / self._program.folded.num_arcs) * (SOME if briefly else 1.0)
        bound = max(tree.nodes.bound for tree in self._trees)
        for number, part in turns:
            if bound >= self._found.enough:
                break
            bound = max(bound, self._grow(self._trees[number], int(part * most)))
        return PricedFound(self._found.stages, bound, len(self._program.columns))

    def _tree(self, learned: Learned | None, least: int) -> SearchTree:
        """Returns a tree with nothing but its root."""
        size = self._program.sums.size
        root = OpenNodes(0.0, self._program.program.start, np.zeros(size), np.full(size, np.inf))
        return SearchTree(root, learned, least, size + MOST_FINER)

    def _grow(self, tree: SearchTree, most_nodes: int) -> float:
        """Returns the bound of a tree that is grown to so many nodes at most."""
        nodes = tree.nodes
        while nodes and tree.num_nodes < most_nodes:
            # The newest first leads down to where all sums are whole, and a placement may be found.
            down = tree.leads_down(known=self._found.stages is not None)
            below, _, basis, low, high, step = nodes.take(newest=down)
            if below >= self._found.enough:
                nodes.close(below)
                continue
            tree.num_nodes += 1
            low, high = self._padded(low, high)
            bound, vertex = self._node(below, basis, low, high)
            if step is not None and tree.learned is not None:
                tree.learned.note(step, max(0.0, min(bound, self._found.enough) - below) / self._program.step)
            if vertex is None or bound >= self._found.enough:
                nodes.close(bound)
                continue
            self._look(tree, vertex, low, high)
            if bound >= self._found.enough:
                nodes.close(bound)
            elif not self._divide(tree, bound, vertex, low, high):
                self._end(tree, bound, vertex, low, high)
        return nodes.bound

    def _look(self, tree: SearchTree, vertex: Vertex, low: Floats, high: Floats) -> None:
        """Looks for a better placement at some of the nodes."""
        found, before = self._found, self._found.stages
        if tree.num_nodes in EARLY or tree.num_nodes % EVERY == 0:
            found.count(self._program, vertex, None if found.stages is None else (low, high))
        if tree.num_nodes == EARLY[-1] and tree is self._trees[TRYING]:
            found.follow(self._program)
        if tree.num_nodes in AMONG:
            found.choose(self._program, vertex)
        if found.stages is not before:
            self._program = found.added_to(self._program)

    def _divide(self, tree: SearchTree, bound: float, vertex: Vertex, low: Floats, high: Floats) -> bool:
        """Lets the halves of a node wait; returns whether it has any."""
        branch = self._branch(tree, bound, vertex, low, high, tree.least)
        split = self._reach(vertex, low, high) if branch is None or branch.rank < AWAY else None
        if split is not None:
            tree.nodes.split(bound, vertex.basis, split)
            return True
        branch = branch or self._branch(tree, bound, vertex, low, high, 0)
        if branch is not None:
            of_sums = self._program.of_sums
            halves = tuple(self._padded(of_sums(low), of_sums(high)) for low, high in branch.halves)
            tree.nodes.split(bound, vertex.basis, halves, branch.steps)
        return branch is not None

    def _branch(
        self, tree: SearchTree, bound: float, vertex: Vertex, low: Floats, high: Floats, least: int
    ) -> Branch | None:
        """Returns what to branch on among the sums of some rank at least, or None where these are whole."""
        program = self._program
        sums = program.sums.rank
        rank = np.full(len(vertex.point), -1)
        rank[program.first_sum : program.num_rows] = np.where(sums >= least, sums, -1)
        box, room = program.bounds(low, high), (self._found.enough - bound) / program.step
        if tree.learned is None:
            lower, upper = (side[: len(rank)] for side in box)
            halves = fractional_split(vertex, lower, upper, rank, room)
            return None if halves is None else Branch(least, halves, (None, None))
        return tree.learned.branch(program.program, vertex, box, rank, room, program.first_sum)

    def _end(self, tree: SearchTree, bound: float, vertex: Vertex, low: Floats, high: Floats) -> None:
        """Looks for a placement where all sums are whole, and lets the node wait again with others if these are not."""
        tree.num_leaves += 1
        finer = finer_sums(self._program, vertex)
        if tree.num_leaves <= MOST_SETTLED:
            self._found.settle(self._program, vertex, low, high)
        if tree.num_leaves <= MOST_LEAVES:
            self._found.count(self._program, vertex, (low, high))
        self._program = self._found.added_to(self._program)
        if finer.size and self._program.sums.size < tree.most_sums:
            self._program = self._program.with_sums(finer)
            tree.nodes.split(bound, vertex.basis, (self._padded(low, high),))
        else:
            tree.nodes.close(bound)

    def _node(self, below: float, basis: Basis, low: Floats, high: Floats) -> tuple[float, Vertex | None]:
        """Returns a node's bound, and the optimum of its relaxation unless that is of no interest or was not found."""
        bound, vertex = below, None
        basis = self._program.taken_up(basis)
        for _ in range(MAX_ROUNDS):
            program = self._program
            vertex = program.program.firmly(*program.bounds(low, high), basis)
            if vertex.ending is not Ending.OPTIMAL:
                return bound, None
            priced = program.priced(vertex, low, high)
            bound, basis = max(bound, priced.bound), vertex.basis
            if bound >= self._found.enough:
                return bound, None
            if not priced.missing:
                return bound, vertex
            self._program = program.extended(priced.missing)
        return bound, vertex

    def _padded(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """Returns a box with no bounds on the sums that were made after it."""
        more = (0, self._program.sums.size - len(low))
        return np.pad(low, more), np.pad(high, more, constant_values=np.inf)

    def _reach(
        self, vertex: Vertex, low: Floats, high: Floats
    ) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]] | None:
        """Returns the boxes without columns that no walk comes to, and with one that leads to them; None where none is left."""
        new = apart_sums(self._program, vertex)
        if new is None:
            return None
        number = self._program.sums.number(new)
        if number is None:
            number = self._program.sums.size
            self._program = self._program.with_sums(new)
            low, high = self._padded(low, high)
        if high[number] == 0.0 or low[number + 1] >= 1.0:
            return None
        none, one = high.copy(), low.copy()
        none[number], one[number + 1] = 0.0, 1.0
        return (low, none), (one, high)
