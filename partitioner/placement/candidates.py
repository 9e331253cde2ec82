"""The best placement of every mode of a policy that may be the best of all, as decisions."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cost_models import HardwareSpec
from partitioner.costing import Costing
from partitioner.errors import PlacementError
from partitioner.front import Traced
from partitioner.objective import Objective
from partitioner.placement.agreement import agreeing
from partitioner.placement.build import BuiltProblem, PairedGraphs, built
from partitioner.placement.draft import Draft, Drafts, Mode
from partitioner.placement.evaluate import evaluate
from partitioner.placement.evened import evened
from partitioner.placement.lower_bound import LowerBound, capacity_name, lower_bound, named_prices
from partitioner.placement.objective import weighed, weights_of
from partitioner.placement.paced_order import paced_order
from partitioner.placement.policies import Policy
from partitioner.placement.problem import Infeasible, Problem, Solution, Undecided
from partitioner.placement.recompute import Room, all_proved, kept_inputs
from partitioner.placement.recompute_modes import with_recompute
from partitioner.placement.shortfall import check_activations, shortfall_message
from partitioner.placement.solve import solve
from partitioner.placement.variants import ANY
from partitioner.plan.decisions import Certificate, Decision, Decisions
from partitioner.workload import Workload


@dataclass(frozen=True)
class Candidate:
    """Offers decisions to the schedule.

    Attributes:
        decisions: What the solver found.
        others: Returns others with about the same account whose schedule may be better: with layers in an order in which
            streams keep pace, and with layers that are more alike.
    """

    decisions: Decisions
    others: Callable[[], Iterable[Decisions]] = lambda: ()


def candidates(
    traced: Traced,
    paired: PairedGraphs,
    hw: HardwareSpec,
    workload: Workload,
    policy: Policy,
    objective: Objective,
    limit: float = math.inf,
    prices: dict[tuple[str, str], float] | None = None,
    *,
    briefly: bool = False,
) -> list[Candidate]:
    """Returns the best decisions, and behind them those of other modes that were the best before they were found.

    Args:
        traced: The model.
        paired: Its graphs.
        hw: The hardware.
        workload: What is generated.
        policy: Which choices there are.
        objective: What is minimised.
        limit: Where bounds show decisions to be worse, they are not looked for, and there may be none; what is found is what is
            found without it, and may be worse.
        prices: What the last problem of the same model ended with, replaced by what this one ends with (see ``lower_bound``).
        briefly: Whether decisions near the bound will do where the best ones take a search.

    Raises:
        PlacementError: If nothing fits.
    """
    known = {} if prices is None else prices
    search = _ModeSearch(traced, paired, hw, workload, policy, objective, limit, known, briefly=briefly)
    for mode in search.modes():
        search.take(mode)
    if not search.found and math.isinf(limit):
        raise PlacementError(shortfall_message(search.costing, policy, paired, search.short))
    return search.candidates()


class _ModeSearch:
    """Solves one mode after the other, each up to the best so far.

    Attributes:
        costing: Answers what things cost, for the whole batch.
        found: Solutions, each better than those before it.
        short: Modes in which nothing fits.
    """

    def __init__(
        self,
        traced: Traced,
        paired: PairedGraphs,
        hw: HardwareSpec,
        workload: Workload,
        policy: Policy,
        objective: Objective,
        limit: float,
        prices: dict[tuple[str, str], float],
        *,
        briefly: bool,
    ) -> None:
        self.costing = paired.asked_before(policy.costing(hw, workload, paired.num_layers))
        self._traced, self._paired, self._policy, self._objective = traced, paired, policy, objective
        decode_steps = sum(w for _, w in workload.decode_contexts(with_prefill=len(traced.graphs) > 1))
        prefills = [workload.batch_size / g.phase.batch_size for g in traced.graphs[:-1]]
        self._steps = [*prefills, decode_steps]
        check_activations(self.costing, paired)
        self._offer_inputs()
        pace_s = functools.partial(_pace_s, self.costing, traced, self._steps)
        self._weights = weights_of(objective, hw, workload, self._steps, pace_s)
        self._prices, self._briefly = prices, briefly
        self._limit, self._best = limit / self._weights.per_second, math.inf
        self._bounds: list[float] = []
        self.found: list[tuple[BuiltProblem, Solution]] = []
        self.short: list[tuple[BuiltProblem, Infeasible]] = []

    def modes(self) -> list[Mode]:
        """Returns the modes, the likelier ones first."""
        modes = _modes(self._paired, self._policy, self.costing.workload, self._objective)
        if not self._kept:
            return modes
        return with_recompute(modes, self._policy, Room.of(self._traced, self.costing, 0.0))

    def take(self, mode: Mode) -> None:
        """Solves a mode, and keeps what is better than all before.

        Where the home of shared weights is free, room is reserved for whichever home asks for the most. Homes that ask for
        less are solved by themselves, too, where more room could be of use.
        """
        attentions = self._drafts.attentions(mode)
        if attentions is not None and self._bound(attentions).fastest_s >= self._enough:
            return
        draft = self._drafts.of(mode)
        if mode.shared_home != ANY:
            self._solve_draft(draft)
            return
        bound = self._bound(draft.apart) if draft.can_run else None
        if bound is not None and self._is_worse(bound, draft.roomiest):
            return
        problem = None
        if bound is not None and draft.can_be_built:
            free = built(draft)
            problem = agreeing(free, self._paired.users)
            if problem is not None:
                if not self._is_worse(bound, draft.capacities):
                    self._solve(replace(free, problem=problem))
                if not draft.buffer_bytes or not self._lacks_gpu_memory():
                    return
        for home in self._policy.weight_homes:
            fixed = self._drafts.of(replace(mode, shared_home=home))
            if problem is None or fixed.reserved[0] < draft.reserved[0]:
                self._solve_draft(fixed)

    def _solve_draft(self, draft: Draft) -> None:
        """Solves the problem of a draft where it can be built and its bound leaves hope."""
        if draft.can_be_built and not self._is_worse(self._bound(draft.apart), draft.capacities):
            self._solve(built(draft))

    def _is_worse(self, bound: LowerBound, capacities: Sequence[float]) -> bool:
        """Tells whether nothing with some capacities is better than the best so far; what is short is for the solver to say."""
        return math.isfinite(self._enough) and bound.at(capacities) >= self._enough

    @property
    def _enough(self) -> float:
        """Returns the seconds from which on nothing is of interest."""
        return min(self._best, self._limit)

    def _bound(self, problem: Problem) -> LowerBound:
        """Returns a bound that needs no search."""
        return lower_bound(weighed(problem, self._weights), self._prices)

    def _lacks_gpu_memory(self) -> bool:
        """Tells whether a placement could be better with more of the GPU's memory, as far as is known."""
        return not self.found or self._prices.get(capacity_name("gpu"), 0.0) > 0.0

    def _solve(self, asked: BuiltProblem) -> None:
        """Solves a problem, and keeps what is better than all before."""
        problem = weighed(asked.problem, self._weights)
        result = solve(problem, self._best, self._prices, self._limit, briefly=self._briefly)
        if isinstance(result, Infeasible):
            self.short.append((asked, result))
        if isinstance(result, Undecided):
            self._bounds.append(result.bound)
        if isinstance(result, Solution):
            if asked.mode.recompute and not all_proved(self._traced, _decisions(asked, result)):
                self._offer_inputs()
                for other in [asked.mode] if self._kept else self.modes():
                    self.take(other)
                return
            self.found.append((asked, result))
            self._bounds.append(result.bound)
            self._prices.clear()
            self._prices.update(named_prices(problem, result.price))
            self._best = min(self._best, result.objective)

    def _offer_inputs(self) -> None:
        """Finds the caches of inputs that are offered, and forgets drafts with others."""
        activation_bytes = self._paired.activation_bytes(self.costing)
        self._kept = kept_inputs(self._traced, self.costing, self._policy, activation_bytes)
        self._drafts = Drafts(self._paired, self.costing, self._policy, self._steps, self._kept)

    def candidates(self) -> list[Candidate]:
        """Returns what was found, the best first, with the bound on all modes."""
        bound = min(self._bounds, default=0.0)
        found = sorted(self.found, key=lambda pair: pair[1].objective)
        return [
            Candidate(
                self._decisions(asked, solution, bound, solution.objective),
                functools.partial(self._others, asked, solution, bound),
            )
            for asked, solution in found
        ]

    def _decisions(self, asked: BuiltProblem, solution: Solution, bound: float, account: float) -> Decisions:
        worth = self._weights.per_second
        return Decisions(
            ops=_decisions(asked, solution),
            reserved_bytes=dict(zip(asked.problem.tiers, asked.reserved, strict=True)),
            certificate=Certificate(
                worth * solution.objective,
                worth * min(bound, solution.objective),
                worth * account,
                solution.solver,
                self._objective.name,
            ),
            micro_batches=asked.mode.micro_batches,
        )

    def _others(self, asked: BuiltProblem, solution: Solution, bound: float) -> Iterator[Decisions]:
        problem = asked.problem
        alike = evened(problem, solution.chosen)
        paced = [paced_order(problem, chosen) for chosen in (solution.chosen, alike) if chosen is not None]
        for chosen in (alike, *paced):
            if chosen is not None:
                account = evaluate(weighed(problem, self._weights), chosen)
                yield self._decisions(asked, replace(solution, chosen=chosen), bound, account)


def _pace_s(costing: Costing, traced: Traced, steps: Sequence[float]) -> list[float]:
    """Returns for each phase the seconds its ops take on the GPU."""
    return [
        n * sum(costing.run_cost(op, "gpu").seconds for op in graph.ops)
        for n, graph in zip(steps, traced.graphs, strict=True)
    ]


def _modes(paired: PairedGraphs, policy: Policy, workload: Workload, objective: Objective) -> list[Mode]:
    """Returns what couples the whole model in all ways, the likelier ones first."""
    homes = (ANY,) if paired.users and len(policy.weight_homes) > 1 else policy.weight_homes[:1]
    streaming = [False, True]
    if set(policy.cache_homes).isdisjoint(policy.decode_attention):
        streaming = [True]
    elif policy.weight_homes == ("gpu",) and policy.cache_homes == ("gpu",):
        streaming = [False]
    modes = [Mode(h, s) for s, h in itertools.product(streaming, homes)]
    if objective.overlaps and policy.micro_batches > 1 and workload.batch_size % policy.micro_batches == 0:
        modes[:0] = [Mode(h, streaming=False, micro_batches=policy.micro_batches) for h in homes]
    return modes


def _decisions(built: BuiltProblem, solution: Solution) -> dict[str, Decision]:
    phases = built.problem.phases
    decisions: dict[str, Decision] = {}
    for (first, length, _), stage, instances in zip(
        built.ranges, built.problem.stages, solution.chosen, strict=True
    ):
        for number, chosen in enumerate(instances):
            for offset, index in enumerate(chosen):
                pair = built.pairs[first + number * length + offset]
                key = stage.block.choices[offset].variants[index].key
                tiers = tuple((p, t) for p, t in zip(phases, key, strict=False) if t != "-")
                more = key[len(phases) + 1 :]
                numbers = {name: int(n) for name, n in (part.split("=") for part in more if "=" in part)}
                newest = numbers.pop("newest", 0)
                split = tuple(numbers.items())
                form = "input" if "input" in more else "kv"
                decisions[pair.name] = Decision(tiers, key[len(phases)], split, form, newest)
    return decisions
