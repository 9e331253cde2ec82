"""What was planned for what, under which rules, and how long it should take."""

from __future__ import annotations

from partitioner.jaxpr import num_bytes, shape_of
from partitioner.placement.policies import POLICIES
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import duration, significant, size
from partitioner.plan.report.table import pairs, title


def header(figures: Figures) -> list[str]:
    """Returns model, hardware, workload, policy and predicted times."""
    plan, load = figures.plan, figures.plan.workload
    params = [i.var for i in plan.decode.graph.phase.inputs if i.role == "param"]
    elements = sum(_product(shape_of(v)) for v in params)
    total_bytes = sum(num_bytes(v) for v in params)
    rows = [
        (
            "model",
            f"{plan.model_name}: {significant(elements / 1e6)} million parameters, {size(total_bytes)}",
        ),
        ("hardware", f"{plan.hw.name}: {plan.hw.description}" if plan.hw.description else plan.hw.name),
        (
            "workload",
            f"batch of {load.batch_size}, prompts of {load.prompt_len} tokens, {load.decode_len} new tokens each",
        ),
        ("policy", f"{plan.policy}: {POLICIES[plan.policy].summary}"),
        ("prefill", _prefill(figures)),
        ("decode step", _decode(figures)),
        ("generation", _generation(figures)),
    ]
    return [*title("Plan"), *pairs(rows)]


def _prefill(figures: Figures) -> str:
    if figures.plan.prefill is None:
        return "none: this model takes its prompt token by token, in decode steps"
    rows = figures.plan.prefill.rows
    return f"{duration(figures.plan.prefill_seconds)}, in {figures.slices} slices of {rows} rows"


def _decode(figures: Figures) -> str:
    first, middle, last = figures.contexts
    if not figures.plan.total_decode_seconds:
        return "none: the prefill gives the only new token"
    moments = (("first", first), ("middle", middle), ("last", last))
    times = [f"{duration(figures.plan.decode_seconds(c))} at {c} tokens ({name})" for name, c in moments]
    return ", ".join(times)


def _generation(figures: Figures) -> str:
    plan = figures.plan
    return f"{duration(plan.total_seconds)}, {significant(plan.tokens_per_second)} tokens/s, prefill included"


def _product(shape: tuple[int, ...]) -> int:
    total = 1
    for d in shape:
        total *= d
    return total
