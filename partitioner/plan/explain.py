"""Explains where ops run, from the costs that the solver weighed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cost_models import Cost, sequential
from partitioner.cut_costs import share_bytes
from partitioner.errors import PlanError
from partitioner.plan.alternatives import Alternative, Alternatives
from partitioner.plan.explanation import Choice, ExplainedClass, Explanation
from partitioner.plan.names import folded, tier_span
from partitioner.plan.report.figures import Figures, OpClass
from partitioner.plan.report.numerals import size
from partitioner.plan.report.shared import group_span, shared_parts
from partitioner.tier_links import TIERS

if TYPE_CHECKING:
    from partitioner.ir.op import Op
    from partitioner.plan.plan import Plan


def explain(plan: Plan, name: str, phase: str) -> Explanation:
    """Returns why an op runs where it runs.

    Args:
        plan: The plan.
        name: An op (``blocks.3.attention``), a folded name (``blocks.*.attention``) or a name that a report shows
            (``blocks.0-9.attention``).
        phase: ``prefill`` or ``decode``; a decode step is the one in the middle of the generation.

    Raises:
        PlanError: If there is no such phase or op; the message names close ones.
    """
    plan.phase(phase)
    figures = Figures(plan)
    found = _named(figures, name, phase)
    if not found:
        raise PlanError(_unknown(plan, name, phase))
    classes = tuple(_explained(figures, group, phase) for group in found)
    return Explanation(name, phase, figures.context(phase), classes)


def _named(figures: Figures, name: str, phase: str) -> list[OpClass]:
    """Returns the classes that a name stands for, an op by itself as a class of one."""
    classes = figures.classes(phase)
    alike = [c for c in classes if folded(c.ops[0].name) == name] or [c for c in classes if c.name == name]
    if alike:
        return alike
    single = [(c, op) for c in classes for op in c.ops if op.name == name]
    return [OpClass(name, (op,), c.tier, c.home, c.split, c.newest) for c, op in single]


def _unknown(plan: Plan, name: str, phase: str) -> str:
    names = [op.name for op in plan.ops(phase)]
    known = list(dict.fromkeys([*map(folded, names), *names]))
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"it has {', '.join(known[:4])}, ..."
    return f"{phase} has no op {name!r} among its {len(names)}; {hint}"


def _explained(figures: Figures, group: OpClass, phase: str) -> ExplainedClass:
    plan = figures.plan
    costs = Alternatives.of_phase(plan, phase, figures.contexts[1])
    times = figures.times(phase)
    alone = sequential(costs.costs.alone(op) for op in group.ops) * times
    in_all = sequential(costs.costs.here(op) for op in group.ops) * times
    held = _held(plan, costs, group.ops)
    runs_on = _shares(plan, phase, group.ops)
    chosen = Choice(
        group_span(plan.hw, group),
        _data(group, phase, group.tier, group.home),
        True,
        alone,
        in_all,
        0.0,
        parts=shared_parts(costs.costs, group, times),
    )
    others = [
        _choice(figures, costs, group, alternatives, in_all, times)
        for tier in TIERS
        if group.is_shared or not group.split or tier != group.split[0][0]
        for alternatives in _by_home(costs, group, tier)
        if (tier, alternatives[0].home) != (group.tier, group.home)
    ]
    kind = "KV cache" if group.ops[0].attention else "weights"
    return ExplainedClass(
        group.name, tuple(op.name for op in group.ops), runs_on, kind if held else "", held, (chosen, *others)
    )


def _by_home(costs: Alternatives, group: OpClass, tier: str) -> list[list[Alternative]]:
    """Returns the ways to run a class on a tier; for each, what it is for every op of the class."""
    found: dict[str, list[Alternative]] = {}
    for op in group.ops:
        for way in costs.ways(op, tier, len(group.ops)):
            found.setdefault(way.home, []).append(way)
    return list(found.values())


def _choice(
    figures: Figures,
    costs: Alternatives,
    group: OpClass,
    ways: Sequence[Alternative],
    here: Cost,
    times: int,
) -> Choice:
    """Returns what a class would cost on a tier in one way; it goes there as a whole or not at all."""
    tier, home, span = ways[0].tier, ways[0].home, tier_span(figures.plan.hw, ways[0].tier)
    impossible = next((way for way in ways if way.cost is None), None)
    if impossible is not None or len(ways) < len(group.ops):
        reason = impossible.reason if impossible else "not all of these ops can run there in this way"
        return Choice(span, "-", False, None, None, None, (reason,))
    alone = sequential(costs.costs.run(op, tier) for op in group.ops) * times
    in_all = sequential(way.cost for way in ways if way.cost) * times
    short = max(way.short_bytes for way in ways)
    obstacles: list[str] = []
    if short:
        where = span if home in ("-", tier) else f"{span}, for buffers"
        obstacles.append(f"short of {size(short)} ({short:.0f} bytes) on {where}")
    if not all(way.allowed for way in ways):
        obstacles.append(f"not allowed by policy {figures.plan.policy!r}")
    change = in_all.seconds - here.seconds
    data = _data(group, costs.costs.phase, tier, home)
    return Choice(span, data, False, alone, in_all, change, tuple(obstacles), short)


def _data(group: OpClass, phase: str, tier: str, home: str) -> str:
    """Returns how weights or caches would come to ops on a tier; see :class:`Choice`."""
    if home == "-":
        return "-"
    if home != group.home:
        return "moved"
    if home == tier:
        return "here"
    return "sent" if phase == "prefill" and group.ops[0].attention else "streamed"


def _shares(plan: Plan, phase: str, ops: Sequence[Op]) -> dict[str, float]:
    """Returns the mean share of each device in ops."""
    total: dict[str, float] = {}
    for op in ops:
        for device, share in plan.device_of(phase, op.name).items():
            total[device] = total.get(device, 0.0) + share / len(ops)
    return total


def _held(plan: Plan, costs: Alternatives, ops: Sequence[Op]) -> Mapping[str, float]:
    """Returns the bytes of caches, or of weights, by the device that keeps them."""
    held: dict[str, float] = {}
    for op in ops:
        if op.attention is not None:
            for share in plan.caches[op.name]:
                amount = share_bytes(plan.costing, op.attention, share)
                held[share.device] = held.get(share.device, 0.0) + amount
        else:
            for name in (n for n in op.params if n in costs.costs.param_bytes):
                for device in (plan.homes[name], *plan.copies.get(name, ())):
                    held[device] = held.get(device, 0.0) + costs.costs.param_bytes[name]
    return held
