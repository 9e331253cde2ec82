"""Plans and runs one model under several policies and batch sizes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cost_models import HardwareSpec
from models import Transformer
from partitioner import Plan, SparF, Workload, partition
from runtime.cli.given_model import tokenizer_of


def plans_to_compare(
    model: Transformer,
    hw: HardwareSpec,
    *,
    policies: Sequence[str],
    batches: Iterable[int],
    prompts: Sequence[str],
    max_new_tokens: int,
    sparsity: SparF | None = None,
) -> list[Plan]:
    """Returns a plan per batch size and policy, for prompts as long as the longest that is run.

    Args:
        model: What to plan.
        hw: What for.
        policies: Names of policies.
        batches: Batch sizes; a batch takes the first prompts, and starts over where there are fewer.
        prompts: Texts.
        max_new_tokens: New tokens per sequence.
        sparsity: How drives attend.

    Raises:
        PlacementError: If a policy does not exist or a batch does not fit.
    """
    lengths = [len(tokens) for tokens in map(tokenizer_of(model).encode, prompts)]
    return [
        partition(model, hw, Workload(batch, max(lengths[:batch]), max_new_tokens, sparsity), policy)
        for batch in batches
        for policy in policies
    ]
