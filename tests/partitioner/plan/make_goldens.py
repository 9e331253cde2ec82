"""Writes the golden texts of the report's sections: ``python -m tests.partitioner.plan.make_goldens`` from the root."""

from collections.abc import Callable
from pathlib import Path

from partitioner import Plan
from partitioner.plan.report import SECTIONS
from partitioner.plan.report.figures import Figures
from tests.partitioner.plan.plans import (
    made_up_run,
    mixed_plan,
    one_token_plan,
    priced,
    several_gpus_plan,
    tiny_plan,
    turns_plan,
    unraised_plan,
    wide_plan,
)

FOLDER = Path(__file__).parent / "goldens"


def section(name: str, plan: Plan, *, measured: bool = False) -> str:
    """Returns one section of a plan's report."""
    figures = Figures(plan, made_up_run(plan) if measured else None)
    return "\n".join(SECTIONS[name](figures)) + "\n"


TEXTS: dict[str, Callable[[], str]] = {
    **{name: (lambda name=name: section(name, tiny_plan("instinfer"))) for name in SECTIONS},
    "timeline-measured": lambda: section("timeline", tiny_plan("instinfer"), measured=True),
    "attention-unraised": lambda: section("attention", unraised_plan()),
    **{
        f"{name}-mixed": (lambda name=name: section(name, mixed_plan()))
        for name in ("summary", "header", "devices", "ops", "moves", "capacity", "endurance")
    },
    "devices-several-gpus": lambda: section("devices", several_gpus_plan()),
    **{
        f"{name}-turns": (lambda name=name: section(name, turns_plan()))
        for name in ("summary", "header", "ops", "moves", "certificate")
    },
    "moves-streamed": lambda: section("moves", wide_plan("flexgen-ssd")),
    **{
        f"{name}-one-token": (lambda name=name: section(name, one_token_plan()))
        for name in ("summary", "header", "devices", "timeline")
    },
    "moves-many-drives": lambda: section("moves", wide_plan("instinfer", 8)),
    "summary-streamed": lambda: section("summary", wide_plan("flexgen-ssd")),
    "summary-priced": lambda: section("summary", priced(tiny_plan("instinfer"))),
    "totals-priced": lambda: section("totals", priced(tiny_plan("instinfer"))),
    "explanation": lambda: f"{tiny_plan('instinfer').explain('blocks.*.attention')}\n",
    "explanation-mixed": lambda: f"{mixed_plan().explain('blocks.*.attention')}\n",
    "explanation-prefill": lambda: f"{tiny_plan('instinfer').explain('blocks.2.attention', 'prefill')}\n",
    "explanation-streamed": lambda: f"{wide_plan('flexgen-ssd').explain('blocks.*.attention')}\n",
    "diff": lambda: f"{wide_plan('flexgen-ssd').diff(wide_plan('instinfer', 4))}\n",
    "diff-mixed": lambda: f"{tiny_plan('instinfer').diff(mixed_plan())}\n",
    "diff-none": lambda: f"{mixed_plan().diff(mixed_plan())}\n",
    "ops-stateful": lambda: section("ops", unraised_plan()),
    "moves-none": lambda: section("moves", unraised_plan()),
}
"""What each golden file holds."""


def main() -> None:
    """Writes every golden file, and removes those that nothing writes any more."""
    for file in FOLDER.glob("*.txt"):
        if file.stem not in TEXTS:
            file.unlink()
    for name, text in TEXTS.items():
        (FOLDER / f"{name}.txt").write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
