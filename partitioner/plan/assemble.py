"""Turns decisions into a plan: homes, segments and steps. Deterministic, so that a plan file needs to hold decisions only."""

from __future__ import annotations

from collections.abc import Mapping

from cost_models import HardwareSpec
from partitioner.costing import Costing
from partitioner.front import Traced
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention
from partitioner.placement.policies import POLICIES
from partitioner.plan.cache_forms import exact_off_the_drives, with_kept_inputs
from partitioner.plan.decisions import Decision, Decisions
from partitioner.plan.emit_steps import emit_steps
from partitioner.plan.phase_plan import PhasePlan
from partitioner.plan.plan import Plan
from partitioner.plan.segment_ops import segment_ops
from partitioner.plan.steps import Share
from partitioner.plan.stream_buffers import reserved_room
from partitioner.workload import Workload


def assemble_plan(
    traced: Traced, hw: HardwareSpec, workload: Workload, policy: str, decisions: Decisions
) -> Plan:
    """Returns the plan that decisions describe.

    Raises:
        PlanError: If they have a cache keep what K and V cannot be made of again.
    """
    traced = with_kept_inputs(exact_off_the_drives(traced, decisions.ops), decisions.ops)
    num_layers = sum(op.attention is not None for op in traced.graphs[-1].ops)
    costing = POLICIES[policy].costing(hw, workload, num_layers, decisions.micro_batches)
    kept_on = _kept_on(traced.graphs, decisions, costing)
    caches = _cache_shares(traced.graphs[-1], decisions, costing)
    room = reserved_room(traced.graphs, decisions.reserved_bytes.get("gpu", 0.0))
    phases: dict[str, PhasePlan] = {}
    for graph in traced.graphs:
        segments = segment_ops(graph, decisions.ops)
        steps = emit_steps(graph, segments, decisions.ops, caches, kept_on, costing, room)
        phases[graph.phase.name] = PhasePlan(graph, segments, steps, graph.phase.batch_size)
    ordered = {name: sorted(devices) for name, devices in kept_on.items()}
    return Plan(
        model_name=traced.function.name,
        fingerprint=traced.fingerprint,
        hw=hw,
        workload=workload,
        policy=policy,
        prefill=phases.get("prefill"),
        decode=phases["decode"],
        homes={name: devices[0] for name, devices in ordered.items()},
        copies={name: tuple(devices[1:]) for name, devices in ordered.items() if devices[1:]},
        caches=caches,
        decisions=decisions,
    )


def _kept_on(
    graphs: tuple[OpGraph, ...], decisions: Decisions, costing: Costing
) -> Mapping[str, frozenset[str]]:
    """Returns the devices that keep each parameter: the home of large ones, every user of small ones."""
    kept: dict[str, set[str]] = {i.name: set() for i in graphs[-1].phase.inputs if i.role in ("param", "rng")}
    for graph in graphs:
        for op in graph.ops:
            decision = decisions.ops[op.name]
            with_home = op.attention is None and decision.home != "-"
            tier = decision.home if with_home else decision.anchor(graph.phase.name)
            device = costing.links.device("gpu" if tier == "csd" else tier)
            for name in op.params:
                if name in kept:
                    kept[name].add(device)
    return {name: frozenset(devices or {"gpu0"}) for name, devices in kept.items()}


def _cache_shares(decode: OpGraph, decisions: Decisions, costing: Costing) -> Mapping[str, tuple[Share, ...]]:
    return {
        op.name: _shares(op.attention, decisions.ops[op.name], costing)
        for op in decode.ops
        if op.attention is not None
    }


def _shares(attention: Attention, decision: Decision, costing: Costing) -> tuple[Share, ...]:
    if decision.split:
        return costing.split_shares(attention, decision.split, decision.newest)
    if decision.home == "csd":
        return costing.shares(attention)
    whole = (0, costing.rows), (0, attention.num_kv_heads)
    return (Share(costing.links.device(decision.home), *whole, 1.0),)
