"""Random small placement problems, and changes to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.problem import Block, Choice, Flow, Problem, Solution, Stage
from partitioner.placement.variant_list import Variant


def random_problem(seed: int, max_placements: int = 300) -> Problem:
    """Returns a problem with one to three stages and at most ``max_placements`` placements."""
    rng = np.random.default_rng(seed)
    while True:
        problem = _draw(rng)
        if num_placements(problem) <= max_placements:
            return problem


def solved_problems(number: int) -> Iterator[tuple[Problem, Solution]]:
    """Yields those of so many problems that have a solution, with the best one."""
    for problem in map(random_problem, range(number)):
        oracle = exhaustive(problem)
        if isinstance(oracle, Solution):
            yield problem, oracle


def num_placements(problem: Problem) -> int:
    return math.prod(
        math.prod(len(choice.variants) for choice in stage.block.choices) ** stage.count
        for stage in problem.stages
    )


def with_variants(problem: Problem, change: Callable[[Variant], Variant]) -> Problem:
    """Returns the problem with each variant changed."""

    def changed(block: Block) -> Block:
        choices = (replace(c, variants=tuple(change(v) for v in c.variants)) for c in block.choices)
        return replace(block, choices=tuple(choices))

    return replace(
        problem, stages=tuple(Stage(changed(stage.block), stage.count) for stage in problem.stages)
    )


def in_bytes(problem: Problem, seed: int) -> Problem:
    """Returns the problem with sizes of gigabytes and some odd bytes, so that sums all but meet the capacities."""
    rng = np.random.default_rng(seed)
    unit = float(rng.integers(10**6, 10**10))

    def resized(variant: Variant) -> Variant:
        memory = (size * unit + float(rng.integers(0, 50)) if size else 0.0 for size in variant.memory)
        return replace(variant, memory=tuple(memory))

    return replace(with_variants(problem, resized), capacities=tuple(c * unit for c in problem.capacities))


def with_load(problem: Problem, factor: float) -> Problem:
    """Returns the problem with all load on its resources multiplied."""
    return with_variants(problem, lambda v: replace(v, busy=tuple((r, s * factor) for r, s in v.busy)))


def _draw(rng: np.random.Generator) -> Problem:
    num_tiers, num_phases = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    resources = tuple((f"link{i}", int(rng.integers(num_phases))) for i in range(rng.integers(0, 4)))
    sizes = (num_tiers, num_phases, len(resources))
    live = tuple(int(p) for p in rng.integers(num_phases, size=rng.integers(0, 3)))
    stages = []
    for index in range(rng.integers(1, 4)):
        count = int(rng.choice([1, 1, 2, 3, 4]))
        exits = (
            live if count > 1 else tuple(int(p) for p in rng.integers(num_phases, size=rng.integers(0, 3)))
        )
        stages.append(Stage(_block(rng, f"block{index}", sizes, live, exits), count))
        live = exits
    problem = Problem(
        tiers=("gpu", "host", "csd")[:num_tiers],
        capacities=(math.inf,) * num_tiers,
        phases=("prefill", "decode")[:num_phases],
        resources=resources,
        stages=tuple(stages),
        entry_tier=int(rng.integers(num_tiers)),
    )
    return replace(problem, capacities=_capacities(rng, problem))


def _capacities(rng: np.random.Generator, problem: Problem) -> tuple[float, ...]:
    """Draws capacities from ample to hopeless, with sums of the variants' sizes, so that a limit is often met exactly."""
    sizes = [
        np.mean([variant.memory for variant in choice.variants], axis=0)
        for stage in problem.stages
        for _ in range(stage.count)
        for choice in stage.block.choices
    ]
    mean = np.sum(sizes, axis=0) if sizes else np.zeros(len(problem.tiers))
    factor = rng.choice([0.3, 0.6, 0.8, 1.0, 1.3, 3.0]) * rng.uniform(0.6, 1.6, len(problem.tiers))
    return tuple(float(math.floor(c)) if rng.random() < 0.9 else math.inf for c in mean * factor)


def _block(
    rng: np.random.Generator,
    name: str,
    sizes: tuple[int, int, int],
    entries: tuple[int, ...],
    exits: tuple[int, ...],
) -> Block:
    num_choices = int(rng.integers(1, 4))
    always = bool(rng.random() < 0.5)
    choices = tuple(
        Choice(f"op{i}", tuple(_variant(rng, sizes, always) for _ in range(rng.integers(1, 4))))
        for i in range(num_choices)
    )
    flows = []
    leaving = {phase: [j for j, p in enumerate(exits) if p == phase] for phase in range(sizes[1])}
    for source, phase in enumerate(entries):
        passes = leaving[phase].pop() if leaving[phase] and rng.random() < 0.3 else None
        flows.append(
            Flow(phase, None, source, _consumers(rng, 0, num_choices), passes, _moves(rng, sizes[0]))
        )
    for producer, choice in enumerate(choices):
        for phase in range(sizes[1]):
            if any(variant.tiers[phase] is None for variant in choice.variants):
                continue
            consumers = _consumers(rng, producer + 1, num_choices)
            leaves = leaving[phase].pop() if leaving[phase] and rng.random() < 0.5 else None
            flows.append(Flow(phase, producer, None, consumers, leaves, _moves(rng, sizes[0])))
    for phase, left in leaving.items():
        for leaves in left:
            sources = [source for source, p in enumerate(entries) if p == phase]
            if sources and rng.random() < 0.3:
                flows.append(Flow(phase, None, sources[0], (), leaves, _moves(rng, sizes[0])))
            else:
                choices = (*choices[:-1], Choice("last", tuple(_variant(rng, sizes, True) for _ in range(2))))
                flows.append(Flow(phase, len(choices) - 1, None, (), leaves, _moves(rng, sizes[0])))
    return Block(name, choices, tuple(flows), entries, exits)


def _consumers(rng: np.random.Generator, first: int, end: int) -> tuple[int, ...]:
    return tuple(i for i in range(first, end) if rng.random() < 0.6)


def _variant(rng: np.random.Generator, sizes: tuple[int, int, int], always: bool) -> Variant:
    num_tiers, num_phases, num_resources = sizes
    tiers = tuple(
        None if not always and rng.random() < 0.15 else int(rng.integers(num_tiers))
        for _ in range(num_phases)
    )
    memory = np.zeros(num_tiers)
    if rng.random() < 0.8:
        memory[rng.integers(num_tiers)] = rng.integers(1, 10)
    busy = tuple((r, float(rng.integers(1, 12))) for r in range(num_resources) if rng.random() < 0.4)
    whole = bool(rng.random() < 0.5)
    seconds = rng.integers(0, 8, num_phases) if whole else rng.uniform(0, 8, num_phases)
    return Variant(tiers, tuple(float(s) for s in seconds), tuple(float(m) for m in memory), busy)


def _moves(rng: np.random.Generator, num_tiers: int) -> tuple[tuple[float, ...], ...]:
    seconds = rng.uniform(0, 4, (num_tiers, num_tiers)) * (rng.random((num_tiers, num_tiers)) < 0.8)
    np.fill_diagonal(seconds, 0.0)
    return tuple(tuple(float(s) for s in row) for row in seconds)


def split_problem(seed: int) -> Problem:
    """Returns two layers whose attention three tiers share in every possible way, with weights that may be streamed."""
    rng = np.random.default_rng(seed)
    num_units, unit = 12, float(rng.integers(1, 10**6))
    rates = rng.uniform(0.1, 8.0, 3)
    fixed = rng.uniform(0.0, 3.0, 3)
    splits = [
        (gpu, host, num_units - gpu - host)
        for gpu in range(num_units + 1)
        for host in range(num_units - gpu + 1)
    ]
    attention = Choice(
        "attention",
        tuple(
            Variant(
                tiers=(0,),
                seconds=(max(n * r + f for n, r, f in zip(split, rates, fixed, strict=True) if n),),
                memory=tuple(n * unit for n in split),
            )
            for split in splits
        ),
    )
    weights, stream_s = float(rng.integers(1, 8) * unit + rng.integers(0, 9)), float(rng.uniform(0.5, 30.0))
    linear = Choice(
        "linear",
        (
            Variant((0,), (1.0,), (weights, 0.0, 0.0)),
            Variant((0,), (1.0,), (0.0, weights, 0.0), ((0, stream_s),)),
        ),
    )
    flow = Flow(0, 0, None, (1,), None, ((0.0, 1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, 0.0)))
    wanted = 2 * (num_units * unit + weights)
    capacities = tuple(float(math.floor(wanted * share)) for share in rng.uniform(0.0, 1.0, 3))
    return Problem(
        tiers=("gpu", "host", "csd"),
        capacities=capacities,
        phases=("decode",),
        resources=(("link", 0),),
        stages=(Stage(Block("layer", (attention, linear), (flow,), (), ()), 2),),
    )
