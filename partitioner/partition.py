"""``partition``: from a model and a hardware description to a plan."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from cost_models import HardwareSpec
from partitioner.collection import without_collection
from partitioner.costing import Costing
from partitioner.errors import PlacementError
from partitioner.front import Traced, trace_model
from partitioner.frontend.adapt import adapt
from partitioner.objective import OBJECTIVES, TOKENS_PER_SECOND, Objective, objective_named
from partitioner.placement.build import BuiltProblem, Mode, PairedGraphs, build_problem
from partitioner.placement.lower_bound import lower_bound
from partitioner.placement.objective import weighed, weights_of
from partitioner.placement.policies import Policy, policy_named
from partitioner.placement.problem import Infeasible, Problem, Solution, Undecided
from partitioner.placement.recompute import Room, kept_inputs
from partitioner.placement.recompute_modes import with_recompute
from partitioner.placement.shared_homes import NEAR, agree
from partitioner.placement.shortfall import check_activations, shortfall_message
from partitioner.placement.solve import solve
from partitioner.placement.variants import ANY
from partitioner.plan.assemble import assemble_plan
from partitioner.plan.decisions import Certificate, Decision, Decisions
from partitioner.plan.plan import Plan
from partitioner.plan.verify_plan import verify_plan
from partitioner.rivals import best_on_schedule, rivals_of
from partitioner.workload import Workload


def partition(
    model: Any,
    hw_spec: HardwareSpec | str | Path,
    workload: Workload | None = None,
    policy: str = "auto",
    *,
    objective: str = TOKENS_PER_SECOND,
    verify: bool = True,
    print_after: str | None = None,
    printer: Callable[[str], None] = print,
) -> Plan:
    """Returns the best plan that a policy allows.

    Args:
        model: An ``nnx.Module``, a ``(linen.Module, variables)`` pair, or what ``partitioner.frontend.from_step`` returned;
            abstract models do.
        hw_spec: Hardware, the name of a preset, or a path to a TOML file.
        workload: Batch, prompt and decode lengths; by default one prompt of 512 tokens and 128 new tokens.
        policy: ``auto`` or the name of a constraint set (see ``partitioner.placement.policies``).
        objective: What the plan is to be the best at: ``tokens-per-second``, ``latency``, ``dollar`` or ``joule`` (see
            ``partitioner.objective``).
        verify: Check the IR between passes and the finished plan.
        print_after: Name of a pass (``trace``, ``raise``, ``place``, ``plan``) whose result is printed.
        printer: What prints.

    Raises:
        ModelError: If the model cannot be traced.
        HardwareError: If there is no such hardware.
        PlacementError: If nothing fits; the message gives the shortfall per device in bytes. Or if the hardware lacks a price
            or a power that the objective needs.
    """
    hw = hw_spec if isinstance(hw_spec, HardwareSpec) else HardwareSpec.load(hw_spec)
    workload = workload or Workload()
    policy_named(policy, hw)
    aim = objective_named(objective, hw)
    show = _Printer(print_after, printer)
    with without_collection():
        function = adapt(model)
        traced = trace_model(function, hw, workload, verify=verify, show=show)

        plan = plan_traced(traced, hw, workload, policy, aim, verify=verify)
        if verify:
            verify_plan(plan)
    show("plan", plan.report)
    return plan


def plan_traced(
    traced: Traced, hw: HardwareSpec, workload: Workload, policy: str, objective: Objective, *, verify: bool
) -> Plan:
    """Returns the best plan of traced graphs: of what the solver finds, and of published systems, what the schedule shows.

    Raises:
        PlacementError: If nothing fits.
    """
    rules, paired = policy_named(policy, hw), PairedGraphs.of(traced.graphs)

    def decide(rules: Policy, limit: float = math.inf) -> list[Decisions]:
        return candidates(traced, paired, hw, workload, rules, objective, limit)

    def make(decisions: Decisions) -> Plan:
        graphs = traced
        if decisions.micro_batches > 1:
            graphs = trace_model(
                traced.function,
                hw,
                workload,
                verify=verify,
                micro_batches=decisions.micro_batches,
                tracer=traced.tracer,
            )
        return assemble_plan(graphs, hw, workload, policy, decisions)

    return best_on_schedule(decide(rules), rivals_of(rules, hw), decide, make)


def place(
    traced: Traced,
    hw: HardwareSpec,
    workload: Workload,
    policy: Policy,
    objective: Objective = OBJECTIVES[TOKENS_PER_SECOND],
) -> Decisions:
    """Returns the best decisions for traced graphs under a policy and by an objective.

    Raises:
        PlacementError: If nothing fits.
    """
    return candidates(traced, PairedGraphs.of(traced.graphs), hw, workload, policy, objective)[0]


def candidates(
    traced: Traced,
    paired: PairedGraphs,
    hw: HardwareSpec,
    workload: Workload,
    policy: Policy,
    objective: Objective,
    limit: float = math.inf,
) -> list[Decisions]:
    """Returns the best decisions, and behind them those of other modes that were the best before they were found.

    Args:
        traced: The model.
        paired: Its graphs.
        hw: The hardware.
        workload: What is generated.
        policy: Which choices there are.
        objective: What is minimised.
        limit: Decisions that are worse are not looked for; where there are no better ones, there may be none.

    Raises:
        PlacementError: If nothing fits.
    """
    costing = Costing(hw, workload, policy.via_host)
    steps = [
        workload.batch_size / g.phase.batch_size if g.phase.name == "prefill" else 0.0 for g in traced.graphs
    ]
    steps[-1] = sum(w for _, w in workload.decode_contexts(with_prefill=len(traced.graphs) > 1))
    check_activations(costing, paired)
    kept = kept_inputs(traced, costing, policy, paired.peak_activation_bytes)
    weights = weights_of(objective, hw, workload, steps[-1], _pace_s(costing, traced, steps))
    found: list[tuple[BuiltProblem, Solution]] = []
    short: list[tuple[BuiltProblem, Infeasible]] = []
    modes = _modes(paired, policy, workload, objective)
    bounds: list[float] = []
    limit /= weights.per_second

    def solved(mode: Mode, limit: float) -> tuple[BuiltProblem, Problem, Solution] | None:
        built = build_problem(paired, costing, policy, mode, steps, kept)
        if any(not c.variants for s in built.problem.stages for c in s.block.choices):
            return None
        if built.reserved[0] > costing.capacity_bytes("gpu"):
            return None
        problem = weighed(built.problem, weights)
        result = solve(problem, limit) if lower_bound(problem) < limit else None
        if isinstance(result, Infeasible):
            short.append((built, result))
        if isinstance(result, Undecided):
            bounds.append(result.bound)
        return (built, problem, result) if isinstance(result, Solution) else None

    if kept:
        modes = with_recompute(modes, policy, Room.of(traced, costing, 0.0))
    for mode in modes:
        option = solved(mode, limit)
        if option is None:
            continue
        built, problem, solution = option
        agreed = agree(built, problem, solution, paired.users)
        if agreed is not None:
            found.append((built, agreed))
            bounds.append(solution.bound)
        else:
            homes = [replace(mode, shared_home=home) for home in policy.weight_homes]
            near = min(limit, solution.objective * (1 + NEAR))
            close = next((o for m in homes if (o := solved(m, near)) is not None), None)
            if close is not None:
                found.append((close[0], close[2]))
                bounds.append(solution.bound)
            for m in homes if close is None else ():
                option = solved(m, limit)
                if option is not None:
                    found.append((option[0], option[2]))
                    bounds.append(option[2].bound)
                    limit = min(limit, option[2].objective)
        limit = min([limit, *(s.objective for _, s in found)])
    if not found and math.isinf(limit):
        raise PlacementError(shortfall_message(costing, policy, paired, short))
    found.sort(key=lambda pair: pair[1].objective)
    bound, worth = min(bounds, default=0.0), weights.per_second
    return [
        Decisions(
            ops=_decisions(built, solution),
            reserved_bytes=dict(zip(built.problem.tiers, built.reserved, strict=True)),
            certificate=Certificate(
                worth * solution.objective,
                worth * min(bound, solution.objective),
                solution.solver,
                objective.name,
            ),
            micro_batches=built.mode.micro_batches,
        )
        for built, solution in found
    ]


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
                parts = (part.split("=") for part in more if "=" in part)
                split = tuple((tier, int(units)) for tier, units in parts)
                form = "input" if "input" in more else "kv"
                decisions[pair.name] = Decision(tiers, key[len(phases)], split, form)
    return decisions


class _Printer:
    """Prints the result of the pass the user asked for."""

    def __init__(self, wanted: str | None, printer: Callable[[str], None]) -> None:
        self._wanted, self._printer = wanted, printer

    def __call__(self, name: str, text: Callable[[], str]) -> None:
        if name == self._wanted:
            self._printer(text())
