"""Faulty problems are refused with what is wrong and where."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from partitioner.placement.problem import Block, Choice, Flow, Problem, Stage
from partitioner.placement.solve import solve
from partitioner.placement.validate import validate
from partitioner.placement.variant_list import Variant

FREE = ((0.0, 1.0), (1.0, 0.0))


def make_problem() -> Problem:
    variants = (Variant((0,), (1.0,), (1.0, 0.0), ((0, 0.5),)), Variant((1,), (2.0,), (0.0, 1.0)))
    block = Block(
        "layer",
        (Choice("first", variants), Choice("second", variants)),
        (
            Flow(0, None, 0, (0,), None, FREE),
            Flow(0, 0, None, (1,), None, FREE),
            Flow(0, 1, None, (), 0, FREE),
        ),
        (0,),
        (0,),
    )
    return Problem(("gpu", "host"), (10.0, 10.0), ("decode",), (("link", 0),), (Stage(block, 3),))


def _block(**changes: object) -> Callable[[Problem], Problem]:
    def change(problem: Problem) -> Problem:
        return replace(
            problem, stages=(replace(problem.stages[0], block=replace(problem.stages[0].block, **changes)),)
        )  # type: ignore[arg-type]

    return change


def _flow(**changes: object) -> Callable[[Problem], Problem]:
    flows = make_problem().stages[0].block.flows
    return _block(flows=(flows[0], replace(flows[1], **changes), flows[2]))  # type: ignore[arg-type]


def _variant(**changes: object) -> Callable[[Problem], Problem]:
    first, second = make_problem().stages[0].block.choices
    return _block(choices=(Choice("first", (replace(first.variants[0], **changes),)), second))  # type: ignore[arg-type]


FAULTS: dict[str, tuple[Callable[[Problem], Problem], str]] = {
    "no stage": (lambda p: replace(p, stages=()), "needs at least one stage"),
    "a capacity missing": (lambda p: replace(p, capacities=(1.0,)), "expected one capacity per tier"),
    "a capacity that is no number": (
        lambda p: replace(p, capacities=(1.0, math.nan)),
        "capacities must be numbers",
    ),
    "an unknown entry tier": (lambda p: replace(p, entry_tier=2), "entry_tier must be one of 2 tiers, got 2"),
    "a resource of no phase": (lambda p: replace(p, resources=(("link", 1),)), "'link' names phase 1"),
    "a block never used": (
        lambda p: replace(p, stages=(replace(p.stages[0], count=0),)),
        "must be repeated at least once, got 0",
    ),
    "a repeated block that does not fit itself": (_block(entries=()), "its exits must fit its entries"),
    "neighbours that do not fit": (
        lambda p: replace(p, stages=(p.stages[0], Stage(replace(p.stages[0].block, entries=(0, 0)), 1))),
        r"has entries of phases \(0, 0\), but the block before it has exits of \(0,\)",
    ),
    "a choice without variants": (
        _block(choices=(Choice("none", ()),)),
        "'none' of block 'layer' has no variants",
    ),
    "a variant without a phase": (_variant(tiers=(0, 0), seconds=(1.0, 1.0)), "needs one tier per phase"),
    "a variant with too few bytes": (_variant(memory=(1.0,)), "one number of bytes per tier"),
    "a variant on an unknown tier": (_variant(tiers=(2,)), "runs on one of 2 tiers or on none"),
    "a variant on an unknown resource": (_variant(busy=((1, 1.0),)), "loads one of 1 resources"),
    "an exit nobody leaves by": (_flow(leaves=0), "each left by one flow"),
    "a flow of no phase": (_flow(phase=1), "its phase must be one of 1"),
    "a flow from two places": (_flow(source=0), "a producer or a source, and not both"),
    "a flow from an unknown choice": (
        _flow(producer=2, consumers=()),
        "its producer must be one of 2 choices",
    ),
    "a flow back": (_flow(consumers=(0,)), "its consumers must be choices after its producer"),
    "a move table too small": (_flow(move_s=((0.0,),)), "its moves need 2 x 2 seconds"),
    "a move without end": (_flow(move_s=((0.0, math.inf), (1.0, 0.0))), "must be finite and not negative"),
    "a move to itself that takes time": (
        _flow(move_s=((1.0, 1.0), (1.0, 0.0))),
        "within a tier takes no time",
    ),
}


def test_a_sound_problem_passes() -> None:
    validate(make_problem())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_problem_is_refused(fault: str) -> None:
    change, message = FAULTS[fault]
    with pytest.raises(ValueError, match=message):
        solve(change(make_problem()))
