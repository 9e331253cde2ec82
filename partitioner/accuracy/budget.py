"""An accuracy budget for a traced model: whose losses count, and what they allow on some hardware."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from cost_models import HardwareSpec
from partitioner.accuracy.choose_sparsity import (
    AccuracyChoice,
    Read,
    check_budget,
    choose_sparsity,
    entries_read,
)
from partitioner.accuracy.sensitivities import Sensitivities
from partitioner.drive_cache import drive_cache_of
from partitioner.errors import AccuracyError, WorkloadError
from partitioner.ir.graph import OpGraph
from partitioner.ir.op import Attention
from partitioner.sparsity import SparF
from partitioner.workload import Workload


def measured_losses(
    model: Any, workload: Workload, budget: float, given: Sensitivities | str | Path | None
) -> Sensitivities:
    """Returns the losses that a budget is held against.

    Args:
        model: The model; its attribute ``sensitivities`` may name a file.
        workload: What is generated.
        budget: The budget.
        given: Losses, or a file that has them, in the place of the model's.

    Raises:
        AccuracyError: The budget is no share, there are no losses, or a file has none.
        WorkloadError: The workload has a sparsity.
    """
    check_budget(budget)
    if workload.sparsity is not None:
        raise WorkloadError(
            f"an accuracy budget chooses the sparsity, and Workload.sparsity is {workload.sparsity!r}; leave one of them out"
        )
    source = given if given is not None else getattr(model, "sensitivities", None)
    if isinstance(source, Sensitivities):
        return source
    if not isinstance(source, str | Path):
        raise AccuracyError(
            "an accuracy budget needs measured losses, and this model has none; measure them with 'instinfer accuracy "
            "--sensitivities MODEL', which writes sensitivities.json into its folder, or give sensitivities="
        )
    return Sensitivities.load(source)


def choice_for(
    decode: OpGraph, hw: HardwareSpec, workload: Workload, measured: Sensitivities, budget: float
) -> AccuracyChoice:
    """Returns the sparsity of each layer with which drives read the fewest pages within a budget.

    Args:
        decode: Graph of a decode step.
        hw: The hardware; without drives, and where a cache fills no page, entries of K and V are counted instead.
        workload: What is generated.
        measured: What layers lose.
        budget: Largest loss.

    Raises:
        AccuracyError: The losses are those of another model.
    """
    attentions = [op.attention for op in decode.ops if op.attention is not None]
    sizes = sorted({attention.head_size for attention in attentions})
    if len(attentions) != measured.num_layers or sizes != [measured.head_size]:
        raise AccuracyError(
            f"the losses are of {measured.num_layers} layers with heads of {measured.head_size} ({measured.model!r}), and "
            f"{len(attentions)} attentions with heads of {sizes} were found; measure this model"
        )
    read = _pages_read(attentions, hw, workload) if hw.drives else None
    if read is None or not all(read(layer, None) for layer in range(len(attentions))):
        read = _entries_read(attentions, workload)
    return choose_sparsity(measured, budget, read)


def _pages_read(attentions: list[Attention], hw: HardwareSpec, workload: Workload) -> Read:
    """Returns the expected flash pages of a layer, per sequence and KV head, summed over the steps of a generation.

    Channels share pages as suits each sparsity by itself; a plan makes one choice for all of its layers.
    """
    contexts = workload.decode_contexts(with_prefill=True) or ((workload.max_len, 1.0),)

    def read(layer: int, sparsity: SparF | None) -> float:
        attention = replace(attentions[layer], sparsity=sparsity)
        alone = () if sparsity is None else (sparsity,)
        cache = drive_cache_of(attention, hw, alone, contexts)
        pages = sum(steps * cache.attend_pages(context) for context, steps in contexts)
        return attention.num_kv_heads * pages

    return read


def _entries_read(attentions: list[Attention], workload: Workload) -> Read:
    """Returns the elements of K and V of a layer, per sequence and KV head, in the middle of a generation."""
    middle = workload.prompt_len + workload.decode_len // 2

    def read(layer: int, sparsity: SparF | None) -> float:
        attention = attentions[layer]
        return entries_read(attention.head_size, attention.tokens_seen(middle))(layer, sparsity)

    return read
