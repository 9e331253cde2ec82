"""What the solver proved about the placement."""

from __future__ import annotations

from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import duration, percent
from partitioner.plan.report.table import pairs, paragraph, title

_OBJECTIVE = (
    "The objective is the time of the whole generation along its critical path: ops, launches, streams and moves one after the other, "
    "except that the prefill's cache stores run under its compute. The bound holds for every placement the policy allows. The "
    "predicted time comes from scheduling the plan's steps, where streams run ahead, so it can be shorter."
)


def certificate(figures: Figures) -> list[str]:
    """Returns objective, bound, gap and solver, and what the objective is."""
    plan = figures.plan
    found = plan.decisions.certificate
    rows = [
        ("objective", duration(found.objective_s, 5)),
        ("bound", duration(found.bound_s, 5)),
        (
            "gap",
            f"{percent(plan.gap)} %: "
            + ("the placement is optimal" if plan.gap < 1e-6 else "at most this far from the optimum"),
        ),
        ("solver", found.solver),
        ("predicted time", duration(plan.total_seconds, 5)),
    ]
    return [*title("Certificate"), *pairs(rows), *paragraph(_OBJECTIVE)]
