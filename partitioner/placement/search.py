"""The integer optimum: the best placement within a distance of the bound, the distance widened until that proves it the best."""

from __future__ import annotations

import functools
import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.arcflow import Arcs, kept_arcs, solve_flow
from partitioner.placement.balance import boundaries
from partitioner.placement.branching import open_boxes
from partitioner.placement.columns import Column, ColumnPool
from partitioner.placement.components import breakdown_vector, first_tier_component
from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.folded import Folded
from partitioner.placement.goal import HARD, Goal
from partitioner.placement.order import Detached, in_order, stage_columns
from partitioner.placement.polish import polish
from partitioner.placement.problem import Problem
from partitioner.placement.relaxation import Relaxation
from partitioner.placement.tally import Box

FEW_ARCS = 300
"""Problems with at most this many arcs are solved at once."""
MAX_NODES = 20_000
"""Nodes of the search tree; at the limit the gap is told, and the same input still gives the same result."""
FIRST_DISTANCE = 1e-3
"""Relative distance from the bound within which placements are looked for first."""
CLOSE = 1e-10
"""Relative distance at which objective and bound are taken for the same number."""


@dataclass(frozen=True)
class Placed:
    """Holds a placement in the form the search compares.

    Attributes:
        chosen: The variants.
        total: [D] its cost vector, summed by ``evaluate``.
        value: The goal's value.
    """

    chosen: Chosen
    total: NDArray[np.float64]
    value: float


@dataclass(frozen=True)
class Found:
    """Holds the outcome of a search.

    Attributes:
        placed: The best placement, or None where none keeps the hard limits.
        bound: Lower bound on the goal's value; infinite where nothing keeps the hard limits.
        num_arcs: Size of the largest integer program.
    """

    placed: Placed | None
    bound: float
    num_arcs: int


@dataclass(frozen=True)
class Search:
    """Holds what stays the same in a search.

    Attributes:
        problem: The problem.
        folded: The same with repeated blocks kept once.
        goal: What is minimised.
        unit: The size of the objective, roughly.
        max_gap: Relative gap that is good enough.
    """

    problem: Problem
    folded: Folded
    goal: Goal
    unit: float
    max_gap: float

    def place(self, chosen: Chosen) -> Placed:
        """Returns a placement with its value."""
        total = breakdown_vector(breakdown(self.problem, chosen))
        return Placed(chosen, total, self.goal.value(total))

    def run(self, root: Relaxation, pool: ColumnPool, known: Placed | None) -> Found:
        """Returns the best placement.

        Args:
            root: The solved relaxation.
            pool: Its columns.
            known: A placement that keeps the hard limits, if one is known.
        """
        few = sum(stage.graph.num_arcs for stage in self.folded.stages) <= FEW_ARCS
        boxes = (
            [root]
            if few
            else open_boxes(self.folded, self.goal, max(root.bound, 1e-3 * self.unit), pool, root)
        )
        lower = max(root.bound, boxes[0].bound)
        distance = math.inf if few else FIRST_DISTANCE * max(lower, 1e-3 * self.unit)
        best, num_arcs = known, 0
        while True:
            widest = math.inf if best is None else best.value
            value = min(widest, lower + distance)
            near = [relaxation for relaxation in boxes if relaxation.bound <= value] or boxes[:1]
            arcs = kept_arcs(self.folded, near, value)
            num_arcs = max(num_arcs, len(arcs.source))
            found = self._best(arcs, near, best, lower)
            best = found.placed
            bound = min(value, max(found.bound, lower))
            if best is not None and bound >= best.value * (1 - max(CLOSE, self.max_gap)):
                return Found(best, min(bound, best.value), num_arcs)
            if value == widest:
                return Found(best, bound, num_arcs)
            distance = distance * 8 if distance < abs(lower) else math.inf

    def _best(self, arcs: Arcs, near: list[Relaxation], known: Placed | None, lower: float) -> Found:
        """Returns the best placement along some arcs, and a bound for these arcs.

        Where a gap is allowed, whole numbers are first asked of the kinds alone, and then of the arcs with these kinds.
        """
        box = functools.reduce(Box.hull, (relaxation.box for relaxation in near))
        if self.max_gap > CLOSE and len(arcs.source) > FEW_ARCS:
            unit, free = max(lower, 1e-3 * self.unit), np.zeros(len(self.goal.group))
            rough = solve_flow(
                self.folded, self.goal, unit, arcs, box, [], free, MAX_NODES, 0.5 * self.max_gap, whole=False
            )
            if rough.tally is None and rough.finished:
                return Found(known, math.inf, len(arcs.source))
            if rough.tally is not None:
                found = self._whole(arcs, Box(rough.tally, rough.tally), known, lower)
                known = found.placed
                if known is not None and rough.bound >= known.value * (1 - self.max_gap):
                    return Found(known, rough.bound, len(arcs.source))
        return self._whole(arcs, box, known, lower)

    def _whole(self, arcs: Arcs, box: Box, known: Placed | None, lower: float) -> Found:
        """Returns the best placement along some arcs in a box, and a bound for these."""
        unit = max(lower, 1e-3 * self.unit)
        tightened = np.zeros(len(self.goal.group))
        cuts: list[NDArray[np.float64]] = []
        bound, best = -math.inf, known
        for _ in range(50):
            flow = solve_flow(
                self.folded,
                self.goal,
                unit,
                arcs,
                box,
                cuts,
                tightened,
                MAX_NODES,
                max(0.5 * self.max_gap, 1e-10),
            )
            if not tightened.any():
                bound = flow.bound
            if flow.on_arc is None or flow.starts is None:
                break
            stages = stage_columns(self.folded, arcs, flow.on_arc, flow.starts)
            if isinstance(stages, Detached):
                cuts.append(_reach(self.folded, arcs, stages))
                continue
            placed = self._placed(stages)
            if self.goal.holds(placed.total):
                nicer = self._placed(polish(self.folded, self.goal, len(self.problem.tiers), stages))
                if nicer.value <= placed.value and self.goal.holds(nicer.total):
                    placed = nicer
                if best is None or placed.value <= best.value:
                    best = placed
                break
            over = np.where(self.goal.group == HARD, placed.total - self.goal.limit, 0.0)
            tightened += 1.5 * np.maximum(0.0, over)
        return Found(best, bound, len(arcs.source))

    def _placed(self, stages: list[Counter[Column]]) -> Placed:
        ordered = in_order(self.folded, stages, first_tier_component(self.problem))
        return self.place(tuple(tuple(column.picks for column in stage) for stage in ordered))


def _reach(folded: Folded, arcs: Arcs, detached: Detached) -> NDArray[np.float64]:
    """Returns a row no walk breaks: instances begin at some vertices only if the stage does, or an arc leads there."""
    meeting = boundaries(folded)
    stage, node = folded.stages[detached.stage], int(meeting.first_node[detached.stage])
    inside = np.isin(np.arange(arcs.num_vertices), list(detached.vertices))
    row = np.zeros(len(arcs.source) + len(meeting.upper))
    row[: len(arcs.source)] = stage.count * (inside[arcs.target] & ~inside[arcs.source])
    row[: len(arcs.source)] -= inside[arcs.source] & arcs.begins
    num_entries = len(stage.graph.entries)
    first = int(meeting.first[detached.stage])
    row[first + len(arcs.source) : first + len(arcs.source) + num_entries] = (
        stage.count * inside[node : node + num_entries]
    )
    return row
