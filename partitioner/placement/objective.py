"""What a second counts under an objective, and the placement problem in these counts.

Time, energy and money are of one form. With ``T[p]`` the seconds of phase p and ``B[t]`` those in which devices of tier t
work::

    sum over phases p of phase[p] * T[p]  +  sum over tiers t of working[t] * B[t]

The whole system costs its rate for as long as a generation takes (idle power, or price over service life and idle power), and
a device costs more while it works. Everything is counted in seconds of the whole system at rest, so that energy and money are
numbers of the size of a time; ``per_second`` turns them back.

A solver needs to know nothing of this: what works is a chain of *working phases* of its own, one for each phase, in which ops
are where they are in the phase, and in which a value that changes tier costs the launch of what takes it in.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from cost_models import HardwareSpec, energy_usd, idle_power_w, owning_usd_per_s, working_power_w
from partitioner.objective import TOKENS_PER_SECOND, Objective
from partitioner.placement.problem import Block, Choice, Flow, Problem, Stage
from partitioner.placement.variant_list import Variant
from partitioner.tier_links import TIERS
from partitioner.workload import Workload

TIE_SHARE = 1e-3
"""Under ``latency`` a prefill at the pace of the GPU counts as this share of the decode steps at that pace: of placements that
decode all but equally fast, one with an early first token is taken."""

MILLION = 1e6


@dataclass(frozen=True)
class Weights:
    """Says what a second counts.

    Attributes:
        phase: For each phase a second of it.
        working: For each tier a second in which one of its devices works; several GPUs work together, as one.
        per_second: What one second of the objective is worth in the objective's unit.
    """

    phase: tuple[float, ...]
    working: tuple[float, ...]
    per_second: float


def weights_of(
    objective: Objective,
    hw: HardwareSpec,
    workload: Workload,
    steps: Sequence[float],
    pace_s: Callable[[], Sequence[float]],
) -> Weights:
    """Returns what seconds count under an objective.

    Args:
        objective: What is minimised.
        hw: The hardware, which has what the objective needs.
        workload: What is generated.
        steps: How often each phase runs in the generation, the decode last.
        pace_s: Returns for each phase roughly the seconds it takes at least; a latency's tie is decided in proportion to them,
            and nothing else asks for them.
    """
    idle = (0.0,) * len(TIERS)
    if objective.name == TOKENS_PER_SECOND:
        return Weights((1.0,) * len(steps), idle, 1.0)
    if objective.name == "latency":
        if not steps[-1]:
            return Weights((1.0,) * len(steps), idle, 1.0)
        *before_s, decode_s = pace_s()
        ties = (TIE_SHARE * decode_s / s if s else 0.0 for s in before_s)
        return Weights((*ties, 1.0), idle, 1.0 / steps[-1])
    tokens = workload.batch_size * workload.decode_len
    rate, working = idle_power_w(hw), _working_w(hw)
    if objective.name == "dollar":
        rate = MILLION * (owning_usd_per_s(hw) + energy_usd(hw, rate))
        working = tuple(MILLION * energy_usd(hw, watts) for watts in working)
    unit = rate or 1.0
    return Weights((rate / unit,) * len(steps), tuple(w / unit for w in working), unit / tokens)


def _working_w(hw: HardwareSpec) -> tuple[float, ...]:
    """Returns for each tier the watts of a working device on top of its idle power: all GPUs together, a drive on average."""
    found: dict[str, list[float]] = {tier: [] for tier in TIERS}
    for device in hw.device_names:
        found[device.rstrip("0123456789")].append(working_power_w(hw, device))
    drives = found["csd"]
    return sum(found["gpu"]), sum(found["host"]), sum(drives) / len(drives) if drives else 0.0


def weighed(problem: Problem, weights: Weights) -> Problem:
    """Returns the problem whose objective is the weighed sum; stages, choices and variants keep their indices."""
    if all(w == 1.0 for w in weights.phase) and not any(weights.working):
        return problem
    change = _Change(problem, weights)
    blocks = {id(stage.block): stage.block for stage in problem.stages}
    changed = {number: change.block(block) for number, block in blocks.items()}
    return replace(
        problem,
        phases=(*(f"{p} work" for p in problem.phases if change.works), *problem.phases),
        resources=tuple((name, phase + change.first) for name, phase in problem.resources),
        stages=tuple(Stage(changed[id(stage.block)], stage.count) for stage in problem.stages),
    )


class _Change:
    """Puts weights into the parts of a problem.

    Attributes:
        works: Whether there are working phases.
        first: Index of the first phase that is not one.
    """

    def __init__(self, problem: Problem, weights: Weights) -> None:
        self._weights = weights
        self._load = [weights.phase[phase] for _, phase in problem.resources]
        self.works = any(weights.working)
        self.first = len(problem.phases) if self.works else 0

    def block(self, block: Block) -> Block:
        """Returns a block with a second copy of every value in the working phase, behind the first at both ends."""
        flows = [self._flow(flow) for flow in block.flows]
        if self.works:
            flows += [self._worked(flow, len(block.entries), len(block.exits)) for flow in block.flows]
        return Block(
            block.name,
            tuple(Choice(c.name, tuple(map(self._variant, c.variants))) for c in block.choices),
            tuple(flows),
            self._ends(block.entries),
            self._ends(block.exits),
        )

    def _ends(self, phases: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(p + self.first for p in phases) + (phases if self.works else ())

    def _flow(self, flow: Flow) -> Flow:
        weight = self._weights.phase[flow.phase]
        moves = tuple(tuple(s * weight for s in row) for row in flow.move_s)
        return replace(flow, phase=flow.phase + self.first, move_s=moves, working=())

    def _worked(self, flow: Flow, num_entries: int, num_exits: int) -> Flow:
        """Returns a value of a working phase, whose moves cost the launch of what takes it in."""
        working = self._weights.working
        launches = [s * w for s, w in zip(flow.working or [0.0] * len(working), working, strict=True)]
        return replace(
            flow,
            source=None if flow.source is None else flow.source + num_entries,
            leaves=None if flow.leaves is None else flow.leaves + num_exits,
            move_s=tuple(
                tuple(launch if s else 0.0 for s, launch in zip(row, launches, strict=True))
                for row in flow.move_s
            ),
            working=(),
        )

    def _variant(self, variant: Variant) -> Variant:
        seconds = tuple(s * w for s, w in zip(variant.seconds, self._weights.phase, strict=True))
        busy = tuple((r, s * self._load[r]) for r, s in variant.busy)
        if not self.works:
            return replace(variant, seconds=seconds, busy=busy, working=())
        work = math.fsum(s * w for s, w in zip(variant.working, self._weights.working, strict=False))
        works = (work, *(0.0 for _ in seconds[1:]))
        return replace(variant, tiers=variant.tiers * 2, seconds=works + seconds, busy=busy, working=())
