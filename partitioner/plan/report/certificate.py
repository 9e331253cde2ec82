"""What the solver proved about the placement."""

from __future__ import annotations

from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import duration, percent
from partitioner.plan.report.table import pairs, paragraph, title

_NO_GAP = 1e-6
"""Relative gaps below this come from rounding."""

_PATH = (
    "The objective is the time of the whole generation along its critical path: ops, launches, streams and moves one after "
    "the other, except that the prefill's cache stores run under its compute."
)
_TURNS = (
    "The objective is the time of the whole generation. As micro-batches take turns, a layer of a decode step lasts as long as "
    "what is busiest in it: the GPU with the ops and its share of the attention for all of them, or the slowest of the others."
)
_REST = (
    "The bound holds for every placement that the "
    "policy allows. The predicted time comes from scheduling the plan's steps on their devices and links. It can be shorter, "
    "since streams run ahead there, or longer, since every segment is launched."
)


def certificate(figures: Figures) -> list[str]:
    """Returns objective, bound, gap and solver, and what the objective is."""
    plan = figures.plan
    found = plan.decisions.certificate
    optimal = plan.gap < _NO_GAP
    rows = [
        ("objective", duration(found.objective_s, 5)),
        ("bound", duration(found.bound_s, 5)),
        (
            "gap",
            "0 %: no placement that the policy allows is better"
            if optimal
            else f"{percent(plan.gap)} %: at most this far from the best placement that the policy allows",
        ),
        ("solver", found.solver),
        ("predicted time", duration(plan.total_seconds, 5)),
    ]
    return [*title("Certificate"), *pairs(rows), *paragraph(f"{_TURNS if plan.micro_batches > 1 else _PATH} {_REST}")]
