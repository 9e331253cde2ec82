"""Checks of a placement problem: what the indices of one part say must exist in the others.

A solver may then rely on every index, on program order (a value is produced before it is consumed), and on every value that
leaves a block having one producer.
"""

from __future__ import annotations

import math

from partitioner.placement.problem import Block, Flow, Problem
from partitioner.placement.variant_list import Variant, samples_of


def validate(problem: Problem) -> None:
    """Checks a problem and returns nothing.

    Raises:
        ValueError: An index points nowhere, a count is not positive, or neighbouring blocks do not fit together; the
            message names the block and choice.
    """
    num_tiers, num_phases = len(problem.tiers), len(problem.phases)
    if not problem.stages:
        raise ValueError("a placement problem needs at least one stage, got none")
    if len(problem.capacities) < num_tiers:
        raise ValueError(f"expected one capacity per tier {problem.tiers}, got {len(problem.capacities)}")
    if any(math.isnan(c) or c == -math.inf for c in problem.capacities):
        raise ValueError(f"capacities must be numbers, got {problem.capacities}")
    if not 0 <= problem.entry_tier < num_tiers:
        raise ValueError(f"entry_tier must be one of {num_tiers} tiers, got {problem.entry_tier}")
    for name, phase in problem.resources:
        if not 0 <= phase < num_phases:
            raise ValueError(f"resource {name!r} names phase {phase}, but there are {num_phases} phases")
    previous: tuple[int, ...] = problem.stages[0].block.entries
    for stage in problem.stages:
        block = stage.block
        if stage.count < 1:
            raise ValueError(f"block {block.name!r} must be repeated at least once, got {stage.count}")
        if block.entries != previous:
            raise ValueError(
                f"block {block.name!r} has entries of phases {block.entries}, but the block before it has exits of {previous}"
            )
        if stage.count > 1 and block.entries != block.exits:
            raise ValueError(
                f"block {block.name!r} is repeated, so its exits must fit its entries {block.entries}, got {block.exits}"
            )
        previous = block.exits
    for block in {id(stage.block): stage.block for stage in problem.stages}.values():
        _validate_block(problem, block)


def _validate_block(problem: Problem, block: Block) -> None:
    for choice in block.choices:
        if not choice.variants:
            raise ValueError(
                f"choice {choice.name!r} of block {block.name!r} has no variants; give at least one"
            )
        for variant in samples_of(choice.variants):
            fault = _variant_fault(problem, variant)
            if fault:
                raise ValueError(f"choice {choice.name!r} of block {block.name!r}: {fault}, got {variant}")
    left = sorted(flow.leaves for flow in block.flows if flow.leaves is not None)
    if left != list(range(len(block.exits))):
        raise ValueError(
            f"block {block.name!r} has {len(block.exits)} exits, each left by one flow; its flows leave by {left}"
        )
    for flow in block.flows:
        fault = _flow_fault(problem, block, flow)
        if fault:
            raise ValueError(f"a flow of block {block.name!r}: {fault}, got {flow}")


def _variant_fault(problem: Problem, variant: Variant) -> str:
    if len(variant.tiers) != len(problem.phases):
        return f"a variant needs one tier per phase {problem.phases}"
    if not len(problem.tiers) <= len(variant.memory) <= len(problem.capacities):
        return f"a variant needs one number of bytes per tier {problem.tiers}"
    if any(tier is not None and not 0 <= tier < len(problem.tiers) for tier in variant.tiers):
        return f"a variant runs on one of {len(problem.tiers)} tiers or on none"
    if any(not 0 <= resource < len(problem.resources) for resource, _ in variant.busy):
        return f"a variant loads one of {len(problem.resources)} resources"
    return ""


def _flow_fault(problem: Problem, block: Block, flow: Flow) -> str:
    num_tiers, num_choices = len(problem.tiers), len(block.choices)
    if not 0 <= flow.phase < len(problem.phases):
        return f"its phase must be one of {len(problem.phases)}"
    if (flow.producer is None) == (flow.source is None):
        return "it needs a producer or a source, and not both"
    if flow.source is not None:
        if not 0 <= flow.source < len(block.entries) or block.entries[flow.source] != flow.phase:
            return f"its source must be an entry of its phase among {block.entries}"
    elif flow.producer is not None:
        if not 0 <= flow.producer < num_choices:
            return f"its producer must be one of {num_choices} choices"
        if any(tiers[flow.phase] is None for tiers in block.choices[flow.producer].ways):
            return "its producer must run in its phase in every variant"
    first = 0 if flow.producer is None else flow.producer + 1
    if any(not first <= consumer < num_choices for consumer in flow.consumers):
        return "its consumers must be choices after its producer"
    if flow.leaves is not None and not (
        0 <= flow.leaves < len(block.exits) and block.exits[flow.leaves] == flow.phase
    ):
        return f"it must leave by an exit of its phase among {block.exits}"
    if len(flow.move_s) != num_tiers or any(len(row) != num_tiers for row in flow.move_s):
        return f"its moves need {num_tiers} x {num_tiers} seconds"
    if any(not (math.isfinite(s) and s >= 0) for row in flow.move_s for s in row):
        return "its moves must be finite and not negative"
    if any(flow.move_s[tier][tier] != 0 for tier in range(num_tiers)):
        return "a move within a tier takes no time"
    return ""
