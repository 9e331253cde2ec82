"""From traced graphs to the best plan: what the solver finds, and what the schedule makes of it."""

from __future__ import annotations

import math
from dataclasses import replace

from cost_models import HardwareSpec
from partitioner.front import Traced, trace_model
from partitioner.objective import Objective
from partitioner.placement.build import PairedGraphs
from partitioner.placement.candidates import Candidate, candidates
from partitioner.placement.policies import Policy, policy_named
from partitioner.plan.assemble import assemble_plan
from partitioner.plan.decisions import Decisions
from partitioner.plan.plan import Plan
from partitioner.rivals import best_on_schedule, rivals_of
from partitioner.workload import Workload


class Planner:
    """Plans one traced model under one policy.

    Args:
        traced: The model.
        hw: The hardware.
        workload: What is generated.
        policy: Name of the policy.
        objective: What is minimised.
        verify: Whether to check the IR of what is traced again for micro-batches.

    Raises:
        PlacementError: There is no such policy, or the hardware lacks what it needs.
    """

    def __init__(
        self,
        traced: Traced,
        hw: HardwareSpec,
        workload: Workload,
        policy: str,
        objective: Objective,
        *,
        verify: bool = True,
    ) -> None:
        self._traced, self._hw, self._workload, self._objective = traced, hw, workload, objective
        self._rules, self._verify = policy_named(policy, hw), verify
        self._paired = PairedGraphs.of(traced.graphs)
        self._prices: dict[tuple[str, str], float] = {}

    def solve(self) -> list[Candidate]:
        """Returns what the solver found, the best by its account first.

        Raises:
            PlacementError: If nothing fits.
        """
        return self._decide(self._rules, math.inf)

    def plan(self, found: list[Candidate]) -> Plan:
        """Returns the plan that the schedule shows to be the best: of the solver's candidates, or of a published system's."""
        rivals = rivals_of(self._rules, self._hw)
        return best_on_schedule(found, rivals, self._decide, self._make, self._decide_plainly)

    def _decide_plainly(self, limit: float, briefly: bool) -> list[Candidate]:
        """Returns the best candidates with all that is computed on the first of the policy's tiers, if it has others."""
        first, *others = self._rules.compute
        return self._decide(replace(self._rules, compute=(first,)), limit, briefly=briefly) if others else []

    def _decide(self, policy: Policy, limit: float, *, briefly: bool = False) -> list[Candidate]:
        return candidates(
            self._traced,
            self._paired,
            self._hw,
            self._workload,
            policy,
            self._objective,
            limit,
            self._prices,
            briefly=briefly,
        )

    def _make(self, decisions: Decisions) -> Plan:
        graphs = self._traced
        if decisions.micro_batches > 1:
            graphs = trace_model(
                graphs.function,
                self._hw,
                self._workload,
                verify=self._verify,
                micro_batches=decisions.micro_batches,
                tracer=graphs.tracer,
            )
        return assemble_plan(graphs, self._hw, self._workload, self._rules.name, decisions)
