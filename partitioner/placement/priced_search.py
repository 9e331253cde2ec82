"""Branch and bound with columns that are made as they are asked for: for problems with too many routes to list.

At every node the relaxation over the columns known so far gives prices, and the cheapest ways through the blocks at these
prices either are columns it misses or prove its bound; so the bound counts for all placements, and there is no list of routes
or arcs to choose from. Sums are branched on (``count_sums``), and where a mixture keeps all of them whole, others that tell it
apart (``finer_sums``); layers that no walk comes to are ruled out on the way (``apart``). Placements are made of the columns
(``counted_columns``) and then made better by exchanges (``exchange``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from partitioner.placement.among_columns import among_near
from partitioner.placement.apart import apart_sums
from partitioner.placement.bounded_simplex import Basis, Ending, Floats, Vertex
from partitioner.placement.column_program import ColumnProgram
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.columns import Column, ColumnPool
from partitioner.placement.count_sums import AWAY, CountSums
from partitioner.placement.counted_columns import counted_columns
from partitioner.placement.exchange import Exchanges
from partitioner.placement.finer_sums import finer_sums
from partitioner.placement.folded import Folded
from partitioner.placement.fractional import fractional_split, strong_split
from partitioner.placement.goal import Goal
from partitioner.placement.open_nodes import OpenNodes
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.routes import Routes, kept_routes

Placement = list[Counter[Column]]
"""For each stage its columns and how many instances make use of each."""
MAX_NODES = 4000
NODE_ARCS = 6000
"""Problems with more arcs have as many fewer nodes, so that none takes minutes."""
STRONG = 300
"""Nodes of a first tree, in which halves are solved to tell what to branch on.

Problems with more arcs have fewer by the square of these, for their programs take longer as well.
"""
MAX_ROUNDS = 30
"""Rounds of prices of one node."""
EARLY, EVERY = (1, 2, 3, 5, 10), 25
"""Nodes after which a better placement is looked for: early ones, after which routes are followed, and from
then on every so many."""
AMONG = (10, 100, 300, 1000, 2000, 3000)
"""Nodes after which all columns near those of the best placement are chosen among."""
DISTANCES = (6e-4, 2e-3, 6e-3, 2e-2)
"""Relative distances from the root's bound within which a placement is looked for along routes."""
MOST_ROUTES = 600
"""More routes are not searched."""
MOST_FINER = 100
"""So many sums are made besides those of the problem."""
MOST_LEAVES = 100
"""So many nodes at which all sums are whole have a placement looked for within them."""


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
    """Keeps the columns and the best placement of a search.

    Args:
        folded: The problem.
        goal: What is minimised.
        sums: What is branched on.
        root: The solved relaxation.
        pool: Its columns.
        limit: What the goal's value may be at most.
        known: A placement of that value, if one is known.
        gap: Relative gap that is enough.
        worth: Returns the value of a placement, infinite where it breaks a limit.
        along: Returns a placement along some routes up to a value, if one is found soon.
    """

    def __init__(
        self,
        folded: Folded,
        goal: Goal,
        sums: CountSums,
        root: Relaxation,
        pool: ColumnPool,
        limit: float,
        known: Placement | None,
        gap: float,
        worth: Callable[[Placement], float],
        along: Callable[[Routes, float], Placement | None],
    ) -> None:
        self._goal, self._root, self._worth, self._along, self._gap = goal, root, worth, along, gap
        self._first = list(pool)
        if known is not None:
            pool.add(column for counted in known for column in counted)
        self._exchanges = Exchanges(folded, goal, root.price, root.bound)
        self._program = ColumnProgram.of(folded, goal, limit, ColumnSums.of(folded, sums), pool)
        self._value = limit
        self._best = known

    @property
    def _enough(self) -> float:
        return self._value * (1.0 - self._gap)

    def search(self) -> PricedFound:
        """Searches until the gap is small enough, or the trees have their most nodes.

        Solving halves tells in a few nodes what matters where the sums of the highest ranks do not; where a bound rises a
        little whatever is decided, it tells nothing, and ranks lead further in the same time. So the first tree goes by the
        one and the second by the other, and the bound is the better one of the two.
        """
        size = min(1.0, NODE_ARCS / self._program.folded.num_arcs)
        bound = self._tree(int(STRONG * size**2), strong=True)
        if bound < self._enough:
            bound = max(bound, self._tree(int(MAX_NODES * size), strong=False))
        return PricedFound(self._best, bound, len(self._program.columns))

    def _tree(self, most_nodes: int, *, strong: bool) -> float:
        """Returns the bound of a tree of at most so many nodes."""
        sums = self._program.sums
        most_sums = sums.size + MOST_FINER
        low, high = np.zeros(sums.size), np.full(sums.size, np.inf)
        nodes, num_nodes, num_leaves = OpenNodes(0.0, self._program.program.start, low, high), 0, 0
        while nodes:
            # Without a placement the newest first: down to where all sums are whole.
            below, _, basis, low, high = nodes.take(newest=self._best is None)
            if num_nodes >= most_nodes:
                nodes.close(below)
                break
            if below >= self._enough:
                nodes.close(below)
                continue
            num_nodes += 1
            low, high = self._padded(low, high)
            bound, vertex = self._node(below, basis, low, high)
            if vertex is None or bound >= self._enough:
                nodes.close(bound)
                continue
            if num_nodes in EARLY or num_nodes % EVERY == 0:
                self._count(vertex, None if self._best is None else (low, high))
            if num_nodes == EARLY[-1] and strong:
                self._follow()
            if num_nodes in AMONG:
                self._choose(vertex)
            split = (
                self._split(vertex, low, high, bound, AWAY, strong=strong)
                or self._reach(vertex, low, high)
                or self._split(vertex, low, high, bound)
            )
            if split is None:
                num_leaves += 1
                if num_leaves <= MOST_LEAVES:
                    self._count(vertex, (low, high))
                finer = finer_sums(self._program, vertex)
                if finer.size and self._program.sums.size < most_sums:
                    self._program = self._program.with_sums(finer)
                    nodes.split(bound, vertex.basis, (self._padded(low, high),))
                else:
                    nodes.close(bound)
                continue
            nodes.split(bound, vertex.basis, split)
        return nodes.bound

    def _follow(self) -> None:
        """Looks for a better placement along all routes that the root's columns are parts of, if these are few."""
        bound = self._root.bound
        for distance in DISTANCES:
            value = min(self._enough, bound * (1.0 + distance))
            routes = kept_routes(
                self._program.folded, self._goal, self._root, value, thin=True, along=self._first
            )
            if routes is None or len(routes.stage) > MOST_ROUTES:
                return
            stages = self._along(routes, value)
            if stages is not None:
                self._take_better(stages)
            if stages is not None or value == self._enough:
                return

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
            if bound >= self._enough:
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

    def _split(
        self, vertex: Vertex, low: Floats, high: Floats, bound: float, least: int = 0, *, strong: bool = False
    ) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]] | None:
        program = self._program
        rank = np.full(len(vertex.point), -1)
        rank[program.first_sum : program.num_rows] = np.where(
            program.sums.rank >= least, program.sums.rank, -1
        )
        room = (self._enough - bound) / program.step
        lower, upper = program.bounds(low, high)
        if strong:
            halves = strong_split(program.program, vertex, (lower, upper), rank, room)
        else:
            halves = fractional_split(vertex, lower[: len(rank)], upper[: len(rank)], rank, room)
        if halves is None:
            return None
        rows = slice(program.first_sum, program.num_rows)
        first, second = ((half[0][rows], half[1][rows]) for half in halves)
        return first, second

    def _count(self, vertex: Vertex, box: tuple[Floats, Floats] | None) -> None:
        """Looks for a better placement made of columns that cost little at the prices of a solution, and of the best one's."""
        kept = () if self._best is None else tuple(c for counted in self._best for c in counted)
        stages = counted_columns(self._program, vertex, box, self._enough, kept)
        if stages is not None:
            self._take_better(stages)

    def _choose(self, vertex: Vertex) -> None:
        """Looks for a better placement among all columns near those of the best one, and those of a solution."""
        if self._best is None:
            return
        program = self._program
        used = (c for c, n in zip(program.columns, program.shares(vertex), strict=False) if n > 0)
        stages = among_near(program.folded, self._goal, self._exchanges, self._best, used, self._enough)
        if stages is not None:
            self._take_better(stages)

    def _take_better(self, stages: Placement) -> None:
        self._take(stages)
        self._take(self._exchanges.improved(stages))

    def _take(self, stages: Placement) -> None:
        value = self._worth(stages)
        if value < self._value:
            self._best, self._value = stages, value
            known = {c.key for c in self._program.columns}
            new = {c.key: c for counted in stages for c in counted if c.key not in known}
            self._program = self._program.extended(tuple(new.values()))
