"""Runs one model under several policies at one batch size, in turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Literal

import numpy as np

from benchmarks.decode_step import PlainJit
from benchmarks.gain.bars import Comparison
from benchmarks.gain.held import hold
from cost_models import HardwareSpec
from models import Transformer
from partitioner import Workload, partition
from runtime import GenerationResult, Session
from runtime.cli.code_prompts import CODE_PROMPTS
from runtime.cli.prompt_windows import prompt_windows

Tell = Callable[[str], None]


def compare(
    model: Transformer,
    hw: HardwareSpec,
    workload: Workload,
    policies: Sequence[str],
    *,
    repeats: int = 1,
    clock: Literal["wall", "virtual"] = "wall",
    tell: Tell = lambda text: None,
) -> Comparison:
    """Returns what every policy's plan promised and did.

    Policies take turns, so that what else the machine does meets all of them. Every sequence has the full prompt length and
    makes all new tokens, as the predictions assume.

    Args:
        model: A model with a tokenizer.
        hw: The hardware to emulate.
        workload: What to generate.
        policies: Names, ``auto`` among them.
        repeats: Runs of each.
        clock: ``wall`` measures; ``virtual`` counts by the same mechanism.
        tell: Told of what is being done.
    """
    prompts = windows(model, workload.batch_size, workload.prompt_len)
    plain, *_ = PlainJit(model, workload.max_len).generate(prompts, workload.decode_len)
    plans = [partition(model, hw, workload, policy) for policy in policies]
    results: list[list[GenerationResult]] = [[] for _ in plans]
    with ExitStack() as stack:
        sessions = [stack.enter_context(Session(plan, model, clock=clock)) for plan in plans]
        for number in range(repeats):
            for plan, session, found in zip(plans, sessions, results, strict=True):
                tell(f"batch {workload.batch_size}, {plan.policy}, run {number + 1} of {repeats}")
                found.append(session.generate(prompts.tolist(), max_new_tokens=workload.decode_len))
    return Comparison(
        tuple(hold(plan, found) for plan, found in zip(plans, results, strict=True)),
        tuple(tuple(map(int, row)) for row in plain),
    )


def windows(model: Transformer, batch_size: int, prompt_len: int) -> np.ndarray:
    """Returns int32[batch_size, prompt_len]: windows of Python code, evenly spaced."""
    assert model.tokenizer is not None
    return prompt_windows(model.tokenizer, "\n".join(CODE_PROMPTS), batch_size, prompt_len)
