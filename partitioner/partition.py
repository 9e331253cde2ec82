"""``partition``: from a model and a hardware description to a plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cost_models import HardwareSpec
from partitioner.accuracy.budget import choice_for, measured_losses
from partitioner.accuracy.sensitivities import Sensitivities
from partitioner.collection import without_collection
from partitioner.front import trace_model
from partitioner.frontend.adapt import adapt
from partitioner.objective import TOKENS_PER_SECOND, objective_named
from partitioner.passes.set_sparsity import set_sparsity
from partitioner.placement.policies import policy_named
from partitioner.plan.plan import Plan
from partitioner.plan.verify_plan import verify_plan
from partitioner.planner import Planner
from partitioner.workload import Workload


def partition(
    model: Any,
    hw_spec: HardwareSpec | str | Path,
    workload: Workload | None = None,
    policy: str = "auto",
    *,
    objective: str = TOKENS_PER_SECOND,
    accuracy_budget: float | None = None,
    sensitivities: Sensitivities | str | Path | None = None,
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
        accuracy_budget: Share of exact attention's bits per token that may be lost: drives attend as sparsely as that allows,
            each layer by its own measure. ``workload`` then says nothing of sparsity.
        sensitivities: What layers lose, or the file that says so; by default the file that ``model.sensitivities`` names, as
            ``load_pretrained`` sets it.
        verify: Check the IR between passes and the finished plan.
        print_after: Name of a pass (``trace``, ``raise``, ``place``, ``plan``) whose result is printed.
        printer: What prints.

    Raises:
        ModelError: If the model cannot be traced.
        HardwareError: If there is no such hardware.
        AccuracyError: If there are no measured losses for the budget, or they are another model's.
        WorkloadError: If the workload has a sparsity besides the budget.
        PlacementError: If nothing fits; the message gives the shortfall per device in bytes. Or if the hardware lacks a price
            or a power that the objective needs.
    """
    hw = hw_spec if isinstance(hw_spec, HardwareSpec) else HardwareSpec.load(hw_spec)
    workload = workload or Workload()
    policy_named(policy, hw)  # refused before the model is traced
    aim = objective_named(objective, hw)
    show = _Printer(print_after, printer)
    measured = None
    if accuracy_budget is not None:
        measured = measured_losses(model, workload, accuracy_budget, sensitivities)
    with without_collection():
        traced = trace_model(adapt(model), hw, workload, verify=verify, show=show)
        choice = None
        if accuracy_budget is not None and measured is not None:
            choice = choice_for(traced.graphs[-1], hw, workload, measured, accuracy_budget)
            workload = replace(workload, sparsity=choice.sparsity)
            traced = replace(traced, graphs=set_sparsity(traced.graphs, choice.sparsity))
        planner = Planner(traced, hw, workload, policy, aim, verify=verify)
        placed = planner.solve()
        show("place", lambda: str(placed[0].decisions))
        plan = replace(planner.plan(placed), accuracy=choice)
        if verify:
            verify_plan(plan)
    show("plan", plan.report)
    return plan


class _Printer:
    """Prints the result of the pass the user asked for."""

    def __init__(self, wanted: str | None, printer: Callable[[str], None]) -> None:
        self._wanted, self._printer = wanted, printer

    def __call__(self, name: str, text: Callable[[], str]) -> None:
        if name == self._wanted:
            self._printer(text())
