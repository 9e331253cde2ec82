"""An attention that GPU, host and drives share, and a decode in micro-batches, generate the tokens of the plain model."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from partitioner import Plan, Workload
from partitioner.plan.steps import Run
from runtime import Session
from tests.runtime.split_plans import Rectangle, in_two_micro_batches, split_plan
from tests.runtime.tiny_models import PROMPTS, WORKLOAD, plain_tokens, plan_for, transformer

ALL, HEADS = (0, 4), (0, 4)
BY_ROWS_AND_HEADS: Sequence[Sequence[Rectangle]] = (
    [("gpu0", (0, 1), HEADS), ("host", (1, 2), HEADS), ("csd0", (2, 4), (0, 1)), ("csd1", (2, 4), (1, 4))],
    [("host", ALL, (0, 2)), ("csd0", ALL, (2, 3)), ("csd1", ALL, (3, 4))],
)
"""Layer 0 by rows, its drives by heads; layer 1 by heads, nothing of it on the GPU."""
WITHOUT_HOST: Sequence[Sequence[Rectangle]] = (
    [("gpu0", ALL, (0, 1)), ("host", ALL, (1, 2))],
    [("csd1", (0, 3), (0, 2)), ("gpu0", (3, 4), (0, 2))],
)
"""Layer 0 without drives; layer 1 without host, and one drive idle."""
CASES = {
    "float32": (transformer, BY_ROWS_AND_HEADS),
    "float16, grouped heads": (lambda: transformer("float16", num_kv_heads=2), WITHOUT_HOST),
    "bfloat16, half-size model": (
        lambda: transformer("bfloat16", position="learned"),
        BY_ROWS_AND_HEADS,
    ),
}
NUM_TOKENS = 6
MANY_PROMPTS = [*PROMPTS, [8, 8], [44], [60, 61, 62], [1, 2, 3, 4, 5, 6, 7]]


def model_and_plan(case: str) -> tuple[Any, Plan]:
    make, layers = CASES[case]
    return make(), split_plan(plan_for(make(), "instinfer", 2), layers)


@pytest.mark.parametrize("case", CASES)
def test_tokens_equal_plain_jit(case: str) -> None:
    model, plan = model_and_plan(case)
    with Session(plan, model, clock="virtual") as session:
        first, second = (session.generate(PROMPTS, NUM_TOKENS) for _ in range(2))
    assert first.tokens == second.tokens == plain_tokens(model, PROMPTS, NUM_TOKENS, WORKLOAD.max_len)
    used = {s.device for s in plan.decode.steps if isinstance(s, Run)}
    assert {e.resource for e in first.timeline.events if e.phase == "decode"} >= used


@pytest.mark.parametrize("clock", ["virtual", "wall"])
def test_tokens_of_micro_batches_equal_plain_jit(clock: Any) -> None:
    model, plan = model_and_plan("float32")
    plan = in_two_micro_batches(plan)
    heard: dict[int, list[int]] = {}
    with Session(plan, model, clock=clock) as session:
        result = session.generate(
            MANY_PROMPTS, NUM_TOKENS, on_token=lambda row, token: heard.setdefault(row, []).append(token)
        )
    assert result.tokens == plain_tokens(model, MANY_PROMPTS, NUM_TOKENS, WORKLOAD.max_len)
    assert [heard[row] for row in range(len(MANY_PROMPTS))] == result.tokens


def test_micro_batches_overlap() -> None:
    """Twice the rows take less than twice the time: drives attend for one half while the GPU computes the other."""
    model, one = model_and_plan("float32")
    with Session(one, model, clock="virtual") as session:
        alone = session.generate(PROMPTS, NUM_TOKENS)
    with Session(in_two_micro_batches(one), model, clock="virtual") as session:
        both = session.generate(MANY_PROMPTS, NUM_TOKENS)
    assert alone.decode_s < both.decode_s < 1.9 * alone.decode_s


def test_the_prefill_may_run_in_slices_of_a_micro_batch() -> None:
    """A slice whose rows lie across two devices' shares is stored with both."""
    model = transformer()
    layers: Sequence[Sequence[Rectangle]] = (
        [("gpu0", (0, 3), HEADS), ("csd0", (3, 4), HEADS)],
        [("host", (0, 1), HEADS), ("csd1", (1, 4), HEADS)],
    )
    pairs = plan_for(model, "instinfer", 2, Workload(2, WORKLOAD.prompt_len, WORKLOAD.decode_len))
    plan = dataclasses.replace(plan_for(model, "instinfer", 2), prefill=pairs.prefill)
    with Session(in_two_micro_batches(split_plan(plan, layers)), model, clock="virtual") as session:
        result = session.generate(MANY_PROMPTS, NUM_TOKENS)
    assert result.tokens == plain_tokens(model, MANY_PROMPTS, NUM_TOKENS, WORKLOAD.max_len)
