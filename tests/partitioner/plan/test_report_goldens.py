"""The report's sections as text files, by section and plan.

After a change that is meant to change them, ``python -m tests.partitioner.plan.make_goldens`` from the root writes them anew.
"""

import pytest

from partitioner.plan.report import SECTIONS
from tests.partitioner.plan.make_goldens import FOLDER, TEXTS, section
from tests.partitioner.plan.plans import made_up_run, tiny_plan


@pytest.mark.parametrize("name", TEXTS)
def test_section(name: str) -> None:
    assert TEXTS[name]() == (FOLDER / f"{name}.txt").read_text(encoding="utf-8")


def test_every_golden_is_compared() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(TEXTS)


def test_a_report_is_its_sections_in_order() -> None:
    plan = tiny_plan("instinfer")
    measured = made_up_run(plan)
    assert plan.report() == "\n".join(section(name, plan) for name in SECTIONS)
    assert str(plan) == plan.report()
    assert plan.report(measured).endswith(section("timeline", plan, measured=True))
    assert plan.report(measured).startswith(plan.report().partition("\nTimeline")[0])
