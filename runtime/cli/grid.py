"""Plans of a grid: policies, batch sizes, prompt lengths and numbers of drives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from cost_models import HardwareSpec
from models import Transformer
from partitioner import PlacementError, Plan, SparF, Workload, partition
from partitioner.placement.policies import policy_named
from runtime.cli.given_model import tokenizer_of
from runtime.phases import Progress


@dataclass(frozen=True)
class Grid:
    """Says what is varied; every combination is a plan.

    Attributes:
        policies: Names of policies.
        batches: Sequences generated together.
        contexts: Tokens of a prompt; None: as the prompts are.
        drives: Numbers of drives; None: as the hardware has.
    """

    policies: Sequence[str]
    batches: Sequence[int]
    contexts: Sequence[int] | None = None
    drives: Sequence[int] | None = None


def plans_of_grid(
    model: Transformer,
    hw: HardwareSpec,
    grid: Grid,
    prompts: Sequence[str],
    *,
    max_new_tokens: int,
    sparsity: SparF | None = None,
    progress: Progress = lambda stage, done, total: None,
) -> tuple[list[Plan], list[str]]:
    """Returns a plan for every combination that fits, and a sentence for each that does not.

    Args:
        model: What to plan.
        hw: What for.
        grid: What is varied.
        prompts: Texts whose lengths count where the grid names none; a batch takes the first ones.
        max_new_tokens: New tokens per sequence.
        sparsity: How drives attend.
        progress: Told of the number of combinations done.

    Raises:
        HardwareError: If the hardware has no drive to copy.
        PlacementError: If the hardware lacks what a policy needs, a policy does not exist, or nothing fits at all.
    """
    for name in grid.policies:
        policy_named(name, hw)
    lengths = [len(tokens) for tokens in map(tokenizer_of(model).encode, prompts)]
    plans: list[Plan] = []
    failed: list[tuple[str, PlacementError]] = []
    cells = list(product(grid.drives or (None,), grid.contexts or (None,), grid.batches, grid.policies))
    for number, (num_drives, context, batch, policy) in enumerate(cells, start=1):
        system = hw if num_drives is None else hw.with_drives(num_drives)
        load = Workload(batch, context or max(lengths[:batch]), max_new_tokens, sparsity)
        try:
            plans.append(partition(model, system, load, policy))
        except PlacementError as error:
            cell = f"{policy}, batch {batch} x {load.prompt_len} tokens, {len(system.drives)} drives"
            failed.append((cell, error))
        progress("planning", number, len(cells))
    if not plans:
        raise failed[0][1]
    return plans, [f"{cell}: {error}" for cell, error in failed]
