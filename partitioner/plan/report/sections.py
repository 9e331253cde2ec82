"""The sections of a report, in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from partitioner.plan.plan import Plan
from partitioner.plan.report.attention import attention
from partitioner.plan.report.capacity import capacity
from partitioner.plan.report.certificate import certificate
from partitioner.plan.report.devices import devices
from partitioner.plan.report.endurance import endurance
from partitioner.plan.report.figures import Figures
from partitioner.plan.report.header import header
from partitioner.plan.report.moves import moves
from partitioner.plan.report.ops import ops
from partitioner.plan.report.summary import summary
from partitioner.plan.report.totals import totals
from partitioner.plan.report.use import use
from partitioner.plan.timeline import Timeline

Section = Callable[[Figures], list[str]]

SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "summary": summary,
        "header": header,
        "totals": totals,
        "devices": devices,
        "ops": ops,
        "moves": moves,
        "capacity": capacity,
        "endurance": endurance,
        "attention": attention,
        "certificate": certificate,
        "timeline": use,
    }
)
"""What a report consists of, by name; a section that has nothing to say is left out."""


def render(plan: Plan, measured: Timeline | None = None) -> str:
    """Returns the placement report of a plan.

    Args:
        plan: The plan.
        measured: Timeline of a run of the plan's whole workload, in seconds, shown beside the prediction.
    """
    figures = Figures(plan, measured)
    texts = (section(figures) for section in SECTIONS.values())
    return "\n\n".join("\n".join(lines) for lines in texts if lines) + "\n"
