"""The same problem without folding: one integer program with a binary per instance, choice and variant.

It takes any shape of block, also those with too many values live at once for a graph of states, and grows with the depth of the
model. For each value and tier it has the share produced there; for each consumer the pairs (tier of producer, tier of
consumer), whose sums are the shares of either (the local polytope); and a move is paid where some consumer's pair asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from partitioner.placement.components import breakdown_vector, variant_vector, vector_size
from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.goal import HARD, SCALE, Goal, fastest, least_missing
from partitioner.placement.master import MasterError
from partitioner.placement.problem import Block, Flow, Infeasible, Problem, Solution

MAX_NODES = 20_000
Row = dict[int, float]


@dataclass
class _Program:
    """Collects variables and equalities; ``vectors[component]`` says what a variable adds to a cost vector."""

    size: int
    integral: list[bool] = field(default_factory=list)
    equal: list[tuple[Row, float]] = field(default_factory=list)
    at_least: list[Row] = field(default_factory=list)
    vectors: list[Row] = field(default_factory=list)
    picks: list[list[list[list[int]]]] = field(default_factory=list)

    def variable(self, integral: bool) -> int:
        self.integral.append(integral)
        return len(self.integral) - 1


def solve_unfolded(problem: Problem) -> Solution | Infeasible:
    """Returns the fastest placement with its certificate, or what is missing; see ``solve``.

    Raises:
        MasterError: The solver failed or came to its limit without a placement.
    """
    program = _program(problem)
    most = _most(problem)
    missing = least_missing(problem, most)
    if len(missing.asked):
        chosen, _ = _solve(problem, program, missing, most)
        parts = breakdown(problem, chosen)
        shortfall = parts.shortfall(problem.capacities)
        if any(shortfall):
            return Infeasible(shortfall, parts.memory_bytes)
    goal = fastest(problem, most)
    chosen, bound = _solve(problem, program, goal, most)
    if not goal.holds(breakdown_vector(breakdown(problem, chosen))):
        raise MasterError("rounding made the solver exceed a capacity; give capacities in whole bytes")
    objective = breakdown(problem, chosen).objective_s
    how = f"unfolded, {len(program.integral)} variables, {len(program.equal) + len(program.at_least)} rows"
    return Solution(chosen, objective, min(bound, objective), how)


def _most(problem: Problem) -> NDArray[np.float64]:
    most = np.zeros(vector_size(problem))
    for stage in problem.stages:
        for choice in stage.block.choices:
            most += stage.count * np.max(
                [variant_vector(problem, variant) for variant in choice.variants], axis=0
            )
        for flow in stage.block.flows:
            most[flow.phase] += stage.count * sum(max(row) for row in zip(*flow.move_s, strict=True))
    return most * (1 + 1e-9)


def _program(problem: Problem) -> _Program:
    program = _Program(vector_size(problem))
    program.vectors = [{} for _ in range(program.size)]
    live = [_fixed(program, problem) for _ in problem.stages[0].block.entries]
    for stage in problem.stages:
        program.picks.append([])
        for _ in range(stage.count):
            live = _instance(program, problem, stage.block, live)
    return program


def _fixed(program: _Program, problem: Problem) -> list[Row]:
    """Returns for each tier the share of a value that enters the model: all of it on the entry tier."""
    one = program.variable(False)
    program.equal.append(({one: 1.0}, 1.0))
    return [{one: 1.0} if tier == problem.entry_tier else {} for tier in range(len(problem.tiers))]


def _instance(program: _Program, problem: Problem, block: Block, live: list[list[Row]]) -> list[list[Row]]:
    """Adds one instance of a block; returns the shares of what leaves it."""
    picks: list[list[int]] = []
    for choice in block.choices:
        picks.append([program.variable(True) for _ in choice.variants])
        program.equal.append((dict.fromkeys(picks[-1], 1.0), 1.0))
        for variable, variant in zip(picks[-1], choice.variants, strict=True):
            for component, amount in enumerate(variant_vector(problem, variant)):
                if amount:
                    program.vectors[component][variable] = float(amount)
    program.picks[-1].append(picks)
    exits: list[list[Row]] = [[] for _ in block.exits]
    for flow in block.flows:
        if flow.source is not None:
            shares = live[flow.source]
        else:
            shares = _shares(problem, block, picks, flow.producer or 0, flow.phase)
        _moves(program, problem, block, picks, flow, shares)
        if flow.leaves is not None:
            exits[flow.leaves] = shares
    return exits


def _shares(problem: Problem, block: Block, picks: list[list[int]], choice: int, phase: int) -> list[Row]:
    """Returns for each tier the variants that run there."""
    variants = list(zip(picks[choice], block.choices[choice].variants, strict=True))
    return [{x: 1.0 for x, v in variants if v.tiers[phase] == tier} for tier in range(len(problem.tiers))]


def _moves(
    program: _Program, problem: Problem, block: Block, picks: list[list[int]], flow: Flow, shares: list[Row]
) -> None:
    tiers = range(len(problem.tiers))
    moved: dict[tuple[int, int], int] = {}
    for consumer in sorted(set(flow.consumers)):
        asks = _shares(problem, block, picks, consumer, flow.phase)
        nowhere = {
            x: 1.0
            for x, v in zip(picks[consumer], block.choices[consumer].variants, strict=True)
            if v.tiers[flow.phase] is None
        }
        targets = [*asks, nowhere]
        pairs = {(s, d): program.variable(False) for s in tiers for d in range(len(targets))}
        for src in tiers:
            row = {pairs[src, dst]: 1.0 for dst in range(len(targets))}
            program.equal.append((row | {x: -a for x, a in shares[src].items()}, 0.0))
        for dst, asked in enumerate(targets):
            program.equal.append(
                ({pairs[s, dst]: 1.0 for s in tiers} | {x: -a for x, a in asked.items()}, 0.0)
            )
        for src, dst in ((s, d) for s in tiers for d in tiers if flow.move_s[s][d] > 0):
            if (src, dst) not in moved:
                moved[src, dst] = program.variable(False)
                program.vectors[flow.phase][moved[src, dst]] = flow.move_s[src][dst]
            program.at_least.append({moved[src, dst]: 1.0, pairs[src, dst]: -1.0})


def _solve(
    problem: Problem, program: _Program, goal: Goal, most: NDArray[np.float64]
) -> tuple[Chosen, float]:
    """Returns the best placement for a goal, and a bound."""
    num_variables = len(program.integral) + goal.num_groups
    unit = max(float(most[goal.group >= 0].sum()), 1e-300) / SCALE
    hard = np.maximum(np.abs(goal.limit), 1e-3 * most) / SCALE
    scale = np.where(goal.group == HARD, hard, unit)
    rows: list[Row] = []
    for component in goal.asked:
        row = {x: amount / scale[component] for x, amount in program.vectors[component].items()}
        if goal.group[component] != HARD:
            row[len(program.integral) + int(goal.group[component])] = -1.0
        rows.append(row)
    right = (goal.limit / scale)[goal.asked]
    exact = np.array([value for _, value in program.equal])
    cost = np.zeros(num_variables)
    cost[len(program.integral) :] = 1.0
    constraints = [LinearConstraint(_matrix([row for row, _ in program.equal], num_variables), exact, exact)]
    if rows:
        constraints.append(LinearConstraint(_matrix(rows, num_variables), -np.inf, right))
    if program.at_least:
        constraints.append(LinearConstraint(_matrix(program.at_least, num_variables), 0.0, np.inf))
    result = milp(
        cost,
        integrality=np.array([*program.integral, *(False for _ in range(goal.num_groups))], float),
        bounds=Bounds(0.0, np.where(np.arange(num_variables) < len(program.integral), 1.0, np.inf)),
        constraints=constraints,
        options={"mip_rel_gap": 1e-10, "node_limit": MAX_NODES},
    )
    if result.x is None:
        raise MasterError(f"the unfolded program ended with status {result.status}: {result.message}")
    chosen = tuple(
        tuple(tuple(int(np.argmax(result.x[x])) for x in picks) for picks in instances)
        for instances in program.picks
    )
    return chosen, float(result.mip_dual_bound or 0.0) * unit


def _matrix(rows: list[Row], width: int) -> csr_array:
    lines = [line for line, row in enumerate(rows) for _ in row]
    columns = [x for row in rows for x in row]
    amounts = [amount for row in rows for amount in row.values()]
    return csr_array((amounts, (lines, columns)), shape=(len(rows), width))
