"""What a finished plan is predicted to be worth under any objective, by the schedule of its steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from partitioner.objective import OBJECTIVES

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan


def predicted_value(plan: Plan, objective: str) -> float | None:
    """Returns what is minimised under an objective, in its unit; None where the hardware lacks a price or a power.

    Raises:
        KeyError: There is no such objective.
    """
    match OBJECTIVES[objective].name:
        case "latency":
            return plan.latency_s or plan.first_token_s
        case "dollar":
            return plan.dollars_per_million_tokens
        case "joule":
            return plan.joules_per_token
        case _:
            return plan.total_seconds
