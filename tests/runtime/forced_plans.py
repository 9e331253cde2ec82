"""Plans whose every decision is drawn at random: what a solver would hardly choose has to run as well."""

import random
from typing import Any

from cost_models import HardwareSpec
from partitioner import Plan, Workload
from partitioner.front import trace_model
from partitioner.frontend import adapt
from partitioner.ir.op import Op
from partitioner.plan.assemble import assemble_plan
from partitioner.plan.decisions import Certificate, Decision, Decisions
from partitioner.plan.verify_plan import verify_plan

CACHE_CHOICES = (
    ("gpu", "gpu"),
    ("host", "host"),
    ("host", "gpu"),
    ("csd", "gpu"),
    ("csd", "host"),
    ("csd", "csd"),
)
"""Home of a cache, and where a decode step attends to it."""


def forced_plan(model: Any, hw: HardwareSpec, workload: Workload, seed: int) -> Plan:
    """Draws where each op runs in each phase, and where its weights or its cache live."""
    draw = random.Random(seed)
    traced = trace_model(adapt(model), hw, workload)
    phases: dict[str, dict[str, Op]] = {}
    for graph in traced.graphs:
        for op in graph.ops:
            phases.setdefault(op.name, {})[graph.phase.name] = op
    decisions = {name: _decision(ops, draw) for name, ops in phases.items()}
    plan = assemble_plan(
        traced, hw, workload, "auto", Decisions(decisions, {}, Certificate(0.0, 0.0, 0.0, "drawn"))
    )
    verify_plan(plan)
    return plan


def _decision(ops: dict[str, Op], draw: random.Random) -> Decision:
    """Draws for one op; what keeps state of no raised attention stays on the GPU, weights and all."""
    if any(op.attention for op in ops.values()):
        home, decode = draw.choice(CACHE_CHOICES)
        tiers = {"prefill": draw.choice(("gpu", "host")), "decode": decode}
    else:
        pinned = any(op.states for op in ops.values())
        tiers = {phase: "gpu" if pinned else draw.choice(("gpu", "host")) for phase in ("prefill", "decode")}
        home = draw.choice(("-", "gpu") if pinned else ("-", "gpu", "host"))
    return Decision(tuple((phase, tiers[phase]) for phase in ops), home)
