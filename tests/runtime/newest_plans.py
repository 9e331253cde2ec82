"""Plans in which host memory keeps the newest tokens of what drives hold, made by hand."""

from collections.abc import Sequence
from typing import Any

from cost_models import HardwareSpec
from partitioner import Plan, Workload
from partitioner.front import trace_model
from partitioner.frontend import adapt
from partitioner.plan.assemble import assemble_plan
from partitioner.plan.decisions import SPLIT, Certificate, Decision, Decisions
from partitioner.plan.verify_plan import verify_plan
from partitioner.split_grid import Split

Layer = tuple[Split, int]
"""Units by tier, and the newest tokens that host memory keeps of the drives' part; 0 for none."""


def newest_plan(
    model: Any, hw: HardwareSpec, workload: Workload, layers: Sequence[Layer], micro_batches: int = 1
) -> Plan:
    """Returns a plan with everything on the GPU but attentions, which are shared as their layer says."""
    traced = trace_model(adapt(model), hw, workload, micro_batches=micro_batches)
    phases: dict[str, list[str]] = {}
    attentions: dict[str, None] = {}
    for graph in traced.graphs:
        for op in graph.ops:
            phases.setdefault(op.name, []).append(graph.phase.name)
            if op.attention is not None:
                attentions[op.name] = None
    given = dict(zip(attentions, layers, strict=True))
    decisions: dict[str, Decision] = {}
    for name, occurs in phases.items():
        split, newest = given.get(name, ((), 0))
        tiers = tuple((p, SPLIT if split and p == "decode" else "gpu") for p in occurs)
        decisions[name] = Decision(tiers, SPLIT if split else "gpu", split, newest=newest)
    proof, none = Certificate(0.0, 0.0, 0.0, "by hand"), {"gpu": 0.0, "host": 0.0, "csd": 0.0}
    plan = assemble_plan(traced, hw, workload, "auto", Decisions(decisions, none, proof, micro_batches))
    verify_plan(plan)
    return plan
