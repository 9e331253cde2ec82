"""What the solver proved about the placement."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from partitioner.plan.plan import Plan
from partitioner.plan.predicted_value import predicted_value
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import duration, percent, significant
from partitioner.plan.report.table import pairs, paragraph, title

_NO_GAP = 1e-6
"""Relative gaps below this come from rounding."""

_PATH = (
    "Time is that of the whole generation along its critical path: ops, launches, streams and moves one after the other, "
    "except that streamed weights and the prefill's cache stores run under compute."
)
_TURNS = (
    "Time is that of the whole generation. As micro-batches take turns, a layer of a decode step lasts as long as what is "
    "busiest in it: the GPU with the ops and its share of the attention for all of them, or the slowest of the others."
)
_SUMMED: Mapping[str, str] = MappingProxyType(
    {
        "tokens-per-second": "The objective is this time.",
        "latency": "The objective is this time of all decode steps over their number; a prefill adds about a thousandth, "
        "which decides between placements whose steps are all but equally fast.",
        "dollar": "The objective is the price of all devices over their service life and the electricity that they draw at "
        "rest, times this time, and the electricity that each device draws beyond that while it works.",
        "joule": "The objective is the power of all devices at rest, times this time, and what each device draws beyond that "
        "while it works.",
    }
)
_PREDICTED = (
    "The bound holds for every placement that the policy allows. What is predicted comes from scheduling the plan's steps on "
    "their devices and links. It can be less than the account, since streams run ahead there, or more, since every segment is "
    "launched and since streams hide only under steps that are as long."
)


def certificate(figures: Figures) -> list[str]:
    """Returns objective, bound, gap and solver, and what the objective is."""
    plan = figures.plan
    found, objective = plan.decisions.certificate, plan.objective
    optimal = plan.gap < _NO_GAP
    rows = [
        ("minimised", f"{objective.summary} (objective {objective.name!r}), in {objective.unit}"),
        ("objective", in_unit(found.objective, objective.unit)),
        ("bound", in_unit(found.bound, objective.unit)),
        (
            "gap",
            "0 %: no placement that the policy allows is better"
            if optimal
            else f"{percent(plan.gap)} %: at most this far from the best placement that the policy allows",
        ),
        ("solver", found.solver),
        *_taken(plan),
        ("predicted", _predicted(plan)),
    ]
    time = _TURNS if plan.micro_batches > 1 else _PATH
    text = f"{time} {_SUMMED[objective.name]} {_PREDICTED}"
    return [*title("Certificate"), *pairs(rows), *paragraph(text)]


def _taken(plan: Plan) -> list[tuple[str, str]]:
    """Returns the account of a plan whose placement is not the solver's best, as a row."""
    if plan.account_excess < _NO_GAP:
        return []
    account = in_unit(plan.decisions.certificate.account, plan.objective.unit)
    more = percent(plan.account_excess)
    return [("this plan", f"{account}, {more} % above the objective: taken because its schedule is better")]


def in_unit(value: float, unit: str) -> str:
    """Returns a value of an objective with its unit; times in the prefix that suits them."""
    if unit == "s" or unit.startswith("s/"):
        return duration(value, 5) + unit[1:].replace("/", " per ")
    return f"{significant(value, 5)} {unit}"


def _predicted(plan: Plan) -> str:
    value = predicted_value(plan, plan.objective.name)
    if value is None:
        return "unknown"
    text, excess = in_unit(value, plan.objective.unit), plan.schedule_excess
    if excess is None or abs(excess) < _NO_GAP:
        return text
    return f"{text}, {percent(abs(excess))} % {'more' if excess > 0 else 'less'} than the account"
