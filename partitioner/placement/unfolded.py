"""The same problem without folding: one integer program with a binary per instance, choice and variant.

It takes any shape of block, also those with too many values live at once for a graph of states, and grows with the depth of the
model. For each value and tier it has the share produced there; for each consumer the pairs (tier of producer, tier of
consumer), whose sums are the shares of either (the local polytope); and a move is paid where some consumer's pair asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from partitioner.placement.capacity import capacity_rows
from partitioner.placement.components import breakdown_vector, variant_vector, vector_size
from partitioner.placement.evaluate import Chosen, breakdown, evaluate
from partitioner.placement.goal import HARD, Goal, fastest, least_missing
from partitioner.placement.highs import INFEASIBLE, SolverError, integer_program
from partitioner.placement.problem import Block, Flow, Infeasible, Problem, Solution

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
        SolverError: The solver failed or came to its limit without a placement.
    """
    program = _program(problem)
    most = _most(problem)
    best = _best(problem, program, fastest(problem, most), most)
    if best is None:
        least = _best(problem, program, least_missing(problem, most), most)
        if least is None:
            raise SolverError(
                "the integer program finds no placement even where all capacities may be exceeded"
            )
        parts = breakdown(problem, least[0])
        return Infeasible(parts.shortfall(problem.capacities), parts.memory_bytes)
    chosen, bound = best
    objective = evaluate(problem, chosen)
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


def _best(
    problem: Problem, program: _Program, goal: Goal, most: NDArray[np.float64]
) -> tuple[Chosen, float] | None:
    """Returns the best placement for a goal, and a bound; None where nothing keeps the hard limits.

    The program is precise to a small part of the value it starts from, so it starts again from a much better one; and
    capacities that its tolerance lets be exceeded are made exact.
    """
    value, exact = goal.value(most), np.zeros(len(most), bool)
    best: tuple[Chosen, float] | None = None
    while True:
        solved = _solve(program, goal, value, exact)
        if solved is None:
            return best
        total = breakdown_vector(breakdown(problem, solved[0]))
        over = (goal.group == HARD) & (total > goal.limit)
        if over.any():
            if exact[over].all():
                raise SolverError(
                    f"the integer program exceeds capacities by {(total - goal.limit)[over]} bytes"
                )
            exact |= over
            continue
        best = solved
        if not 0 < goal.value(total) < 0.5 * value:
            return best
        value = goal.value(total)


def _solve(
    program: _Program, goal: Goal, value: float, exact: NDArray[np.bool_]
) -> tuple[Chosen, float] | None:
    """Returns the best placement up to a value, and a bound; None where there is none."""
    num_picks, soft, hard, step = len(program.integral), goal.soft, goal.hard, goal.step(value)
    vectors = _matrix(program.vectors, num_picks).toarray()
    small = (vectors <= goal.most_on_one(value)[:, None]).all(axis=0)
    vectors *= small
    sizes, carries, capacity = capacity_rows(vectors[hard], goal.limit[hard], exact[hard])
    equal = np.array([right for _, right in program.equal])
    rows = [
        ([vectors[soft] / step, None, -goal.members(soft)], -np.inf, goal.limit[soft] / step),
        ([None, None, np.ones((1, goal.num_groups))], -np.inf, (1 + 1e-9) * value / step),
        ([sizes, carries, None], -np.inf, capacity),
        ([_matrix([row for row, _ in program.equal], num_picks), None, None], equal, equal),
        ([_matrix(program.at_least, num_picks), None, None], 0.0, np.inf),
    ]
    rest = np.full(carries.shape[1] + goal.num_groups, np.inf)
    is_time = np.repeat([0.0, 1.0], [num_picks + carries.shape[1], goal.num_groups])
    integral = np.concatenate([program.integral, np.ones(carries.shape[1]), np.zeros(goal.num_groups)])
    result = integer_program(is_time, integral, (np.zeros(len(is_time)), np.concatenate([small, rest])), rows)
    if result.status == INFEASIBLE:
        return None
    if result.x is None:
        raise SolverError(f"the integer program ended with status {result.status}: {result.message}")
    chosen = tuple(
        tuple(tuple(int(np.argmax(result.x[x])) for x in picks) for picks in instances)
        for instances in program.picks
    )
    return chosen, float(result.mip_dual_bound or 0.0) * step


def _matrix(rows: list[Row], width: int) -> csr_array:
    lines = [line for line, row in enumerate(rows) for _ in row]
    columns = [x for row in rows for x in row]
    amounts = [amount for row in rows for amount in row.values()]
    return csr_array((amounts, (lines, columns)), shape=(len(rows), width))
