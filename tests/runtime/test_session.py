"""A session generates what the plain model generates, wherever the plan puts things."""

import dataclasses
from typing import Any

import pytest

from partitioner import Workload, partition
from partitioner.plan.steps import Move
from runtime import Session
from tests.runtime.tiny_models import (
    PROMPTS,
    WORKLOAD,
    counting_decoder,
    demo_hardware,
    plain_tokens,
    plan_for,
    running_mean,
    transformer,
)

POLICIES = ("gpu-only", "deepspeed-host", "flexgen-ssd", "instinfer", "auto")


def generate(
    model: Any, policy: str, num_drives: int = 1, workload: Workload = WORKLOAD, clock: Any = "virtual"
) -> Any:
    with Session(plan_for(model, policy, num_drives, workload), model, clock=clock) as session:
        return session.generate(PROMPTS[: workload.batch_size], max_new_tokens=workload.decode_len)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("num_drives", "kv_dtype"), [(1, "float32"), (3, "float16")])
def test_tokens_equal_plain_jit(policy: str, num_drives: int, kv_dtype: str) -> None:
    model = transformer(kv_dtype)
    result = generate(model, policy, num_drives)
    assert result.tokens == plain_tokens(model, PROMPTS, 10, WORKLOAD.max_len)


@pytest.mark.parametrize(("policy", "num_drives"), [("instinfer", 3), ("flexgen-ssd", 3), ("gpu-only", 1)])
def test_grouped_queries(policy: str, num_drives: int) -> None:
    """Two KV heads on three drives: rows are shared too."""
    model = transformer(num_kv_heads=2)
    assert generate(model, policy, num_drives).tokens == plain_tokens(model, PROMPTS, 10, WORKLOAD.max_len)


def test_learned_positions() -> None:
    model = transformer(position="learned")
    result = generate(model, "instinfer", 3)
    assert result.tokens == plain_tokens(model, PROMPTS, 10, WORKLOAD.max_len)


@pytest.mark.parametrize(
    ("policy", "num_drives"), [("gpu-only", 1), ("deepspeed-host", 1), ("flexgen-ssd", 1), ("instinfer", 3)]
)
def test_a_model_that_counts_its_own_position(policy: str, num_drives: int) -> None:
    model = counting_decoder()
    assert generate(model, policy, num_drives).tokens == plain_tokens(model, PROMPTS, 10, WORKLOAD.max_len)


def test_state_of_no_attention() -> None:
    model = running_mean()
    assert generate(model, "gpu-only").tokens == plain_tokens(model, PROMPTS, 10, WORKLOAD.max_len)


def test_pages_fill_and_flush() -> None:
    """Pages of a few tokens fill and are programmed and read back many times over."""
    model = transformer("float16")
    hw = demo_hardware().replace("drive.flash.page_bytes", 128)
    plan = partition(model, hw, WORKLOAD, "instinfer")
    with Session(plan, model, clock="virtual") as session:
        result = session.generate(PROMPTS, max_new_tokens=10)
    health = result.drive_health["csd0"]
    assert health.pages_read > health.pages_programmed > 0
    assert result.timeline.moved_bytes("decode")["csd0"] == health.pages_read * 128
    assert result.tokens == plain_tokens(model, PROMPTS, 10, WORKLOAD.max_len)


@pytest.mark.parametrize("policy", ["instinfer", "deepspeed-host", "gpu-only"])
def test_sliced_prefill_equals_whole(policy: str) -> None:
    """A batch that is prefilled in two slices gives the same tokens."""
    model = transformer("float16")
    whole = plan_for(model, policy)
    half = plan_for(model, policy, 1, Workload(2, WORKLOAD.prompt_len, WORKLOAD.decode_len)).prefill
    assert half is not None
    steps = tuple(
        dataclasses.replace(s, share=whole.caches[s.attention][0])
        if isinstance(s, Move) and s.attention
        else s
        for s in half.steps
    )
    sliced = dataclasses.replace(whole, prefill=dataclasses.replace(half, steps=steps))
    with Session(sliced, model, clock="virtual") as session:
        result = session.generate(PROMPTS, max_new_tokens=10)
    assert result.tokens == plain_tokens(model, PROMPTS, 10, WORKLOAD.max_len)


def test_generating_again_starts_fresh() -> None:
    model = transformer()
    with Session(plan_for(model, "instinfer"), model, clock="virtual") as session:
        first = session.generate(PROMPTS, max_new_tokens=6)
        other = session.generate([[1, 2]], max_new_tokens=3)
        again = session.generate(PROMPTS, max_new_tokens=6)
    assert first.tokens == again.tokens
    assert other.tokens == plain_tokens(model, [[1, 2]], 3, WORKLOAD.max_len)


def test_tokens_are_handed_out_in_order() -> None:
    model = counting_decoder()
    heard: list[tuple[int, int]] = []
    with Session(plan_for(model, "gpu-only"), model, clock="virtual") as session:
        result = session.generate(PROMPTS, 4, on_token=lambda row, token: heard.append((row, token)))
    for row, tokens in enumerate(result.tokens):
        assert [t for r, t in heard if r == row] == tokens


def test_result_adds_up() -> None:
    model = transformer()
    result = generate(model, "instinfer")
    assert result.num_tokens == 30
    assert result.total_s == pytest.approx(result.prefill_s + result.decode_s)
    assert result.tokens_per_second == pytest.approx(30 / result.total_s)
    assert result.fidelity == 1.0
    assert result.texts is None
    assert result.timeline.end_s <= result.total_s * (1 + 1e-9)
    assert all(e.start_s >= 0 for e in result.timeline.events)


def test_progress_tells_every_stage() -> None:
    model = transformer()
    stages: dict[str, tuple[int, int]] = {}

    def progress(stage: str, done: int, total: int) -> None:
        stages[stage] = (done, total)

    with Session(plan_for(model, "gpu-only"), model, clock="virtual", progress=progress) as session:
        session.generate(PROMPTS, max_new_tokens=3)
    assert set(stages) == {"loading", "compiling prefill", "compiling decode", "prefill", "decode"}
    assert all(done == total for done, total in stages.values())
