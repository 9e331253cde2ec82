"""``bench``: runs finished plans and holds what was measured against what was predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from cost_models.hardware import HardwareSpec
from partitioner.plan.plan import Plan
from partitioner.workload import Workload
from runtime.bench_errors import BenchError
from runtime.bench_machine import this_machine
from runtime.bench_prediction import predict_generation
from runtime.bench_report import BenchReport
from runtime.bench_row import BenchRow
from runtime.bench_usage import measured_usage
from runtime.phases import Progress
from runtime.session import Session

_BASELINE = "flexgen-ssd"

Prompts: TypeAlias = (
    Sequence[str] | Sequence[Sequence[int]] | Callable[[Workload], Sequence[str] | Sequence[Sequence[int]]]
)
"""Texts or token ids, or what gives them for a workload."""


def bench(
    plans: Sequence[Plan],
    model: Any,
    prompts: Prompts,
    *,
    max_new_tokens: int,
    repeats: int = 3,
    clock: Literal["wall", "virtual"] = "wall",
    progress: Progress | None = None,
    drive_folder: str | Path | None = None,
) -> BenchReport:
    """Runs every plan and returns predicted next to measured speed, time and bytes.

    A plan takes as many prompts as its batch size, from the first on, and starts over where there are
    fewer. The baseline is ``flexgen-ssd``, or else the first policy among the plans. Plans may differ in batch size, prompt
    length and number of drives; those that agree in all three are held against each other.

    Args:
        plans: Plans for ``model`` on one hardware description.
        model: The model with its weights.
        prompts: Texts or token ids; none longer than the plans' prompt length. Or a function that returns such a list for a
            plan's workload.
        max_new_tokens: New tokens per sequence; at most the plans' decode length.
        repeats: Runs of each plan.
        clock: ``wall`` measures time; ``virtual`` emulates it without waiting.
        progress: Told of what is being done, as by a session: stage (with the policy before it), done, total; and of the
            number of plans done.
        drive_folder: Folder in which drives keep their pages; None: memory.

    Raises:
        BenchError: If there is nothing to run, or the plans are for different systems.
    """
    _check(plans, prompts, repeats)
    told: Progress = progress or (lambda stage, done, total: None)
    rows: list[BenchRow] = []
    for plan in sorted(plans, key=_cell):
        told("plans", len(rows), len(plans))
        given = prompts(plan.workload) if callable(prompts) else prompts
        rows.append(_measure(plan, model, given, max_new_tokens, repeats, clock, told, drive_folder))
    told("plans", len(rows), len(plans))
    policies = [plan.policy for plan in plans]
    return BenchReport(
        model=plans[0].model_name,
        hardware=plans[0].hw.name,
        clock=clock,
        prompt_len=max(plan.workload.prompt_len for plan in plans),
        max_new_tokens=max_new_tokens,
        repeats=repeats,
        baseline=_BASELINE if _BASELINE in policies else policies[0],
        machine=this_machine(),
        rows=tuple(rows),
    )


def _cell(plan: Plan) -> tuple[int, int, int]:
    return len(plan.hw.drives), plan.workload.prompt_len, plan.workload.batch_size


def _check(plans: Sequence[Plan], prompts: Prompts, repeats: int) -> None:
    if not plans:
        raise BenchError("bench needs at least one plan; partition(model, hw, workload, policy) makes one")
    if not callable(prompts) and (not prompts or isinstance(prompts, str)):
        raise BenchError("bench needs a list of at least one prompt, as text or token ids")
    if repeats < 1:
        raise BenchError(f"repeats must be at least 1, got {repeats}")
    for plan in plans:
        if plan.model_name != plans[0].model_name or not _are_alike(plan.hw, plans[0].hw):
            raise BenchError(
                f"bench compares plans of one model on one system; got {plan.model_name} on {plan.hw.name} "
                f"beside {plans[0].model_name} on {plans[0].hw.name}"
            )


def _are_alike(one: HardwareSpec, other: HardwareSpec) -> bool:
    """Tells whether two systems differ in their number of drives at most."""
    if one == other:
        return True
    return bool(one.drives and other.drives) and one.with_drives(1) == other.with_drives(1)


def _measure(
    plan: Plan,
    model: Any,
    prompts: Sequence[Any],
    max_new_tokens: int,
    repeats: int,
    clock: Literal["wall", "virtual"],
    progress: Progress,
    drive_folder: str | Path | None,
) -> BenchRow:
    """Runs one plan ``repeats`` times in one session, so that loading and compiling do not count."""
    batch = [prompts[index % len(prompts)] for index in range(plan.workload.batch_size)]
    told = _named(plan, progress)
    with Session(plan, model, clock=clock, progress=told, drive_folder=drive_folder) as session:
        results = [session.generate(batch, max_new_tokens=max_new_tokens) for _ in range(repeats)]
    prediction = predict_generation(plan, [_num_tokens(prompt, model) for prompt in batch], max_new_tokens)
    middle = sorted(results, key=lambda result: result.tokens_per_second)[repeats // 2]
    return BenchRow(
        policy=plan.policy,
        batch_size=plan.workload.batch_size,
        prompt_len=plan.workload.prompt_len,
        num_drives=len(plan.hw.drives),
        predicted_tokens_per_s=prediction.tokens_per_second,
        measured_tokens_per_s=tuple(result.tokens_per_second for result in results),
        predicted_prefill_s=prediction.prefill_s,
        measured_prefill_s=tuple(result.prefill_s for result in results),
        predicted=prediction.usage,
        measured=measured_usage(middle.timeline),
        fidelity=middle.fidelity,
        tokens=tuple(tuple(int(token) for token in row) for row in middle.tokens),
    )


def _num_tokens(prompt: str | Sequence[int], model: Any) -> int:
    """Returns the length of a prompt, which a session has accepted."""
    return len(model.tokenizer.encode(prompt)) if isinstance(prompt, str) else len(prompt)


def _named(plan: Plan, progress: Progress) -> Progress:
    """Returns a session's progress with the plan's name before each stage."""
    num_drives, prompt_len, batch_size = _cell(plan)
    name = f"{plan.policy}, batch {batch_size} x {prompt_len}, {num_drives} drives"
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)
