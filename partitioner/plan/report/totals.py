"""What a plan is predicted to come to: rate, latency, energy and money, with what it was made for marked."""

from __future__ import annotations

from partitioner.plan.report.figures import Figures
from partitioner.plan.report.numerals import duration, significant
from partitioner.plan.report.table import pairs, title


def totals(figures: Figures) -> list[str]:
    """Returns a line for each figure; energy and money are left out where the hardware's powers or prices are not known."""
    plan = figures.plan
    joules, dollars = plan.joules_per_token, plan.dollars_per_million_tokens
    found = {
        "tokens-per-second": ("throughput", f"{significant(plan.tokens_per_second)} tokens/s"),
        "latency": (
            "latency",
            f"{duration(plan.latency_s)} per token, after {duration(plan.first_token_s)} to the first",
        ),
        "joule": ("energy", "" if joules is None else f"{significant(joules)} J/token"),
        "dollar": ("money", "" if dollars is None else f"{significant(dollars)} USD/Mtoken"),
    }
    rows = [
        (label, f"{text} (objective)" if name == plan.objective.name else text)
        for name, (label, text) in found.items()
        if text
    ]
    return [*title("Totals"), *pairs(rows)]
