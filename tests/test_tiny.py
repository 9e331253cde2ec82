"""The whole story in a few seconds: plan the shipped model, run it, and get the plain model's tokens."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cost_models import HardwareSpec
from models import Transformer, load_pretrained
from partitioner import Plan, Workload, partition
from runtime import GenerationResult, Session
from runtime.bench_prediction import predict_generation
from runtime.cli.code_prompts import CODE_PROMPTS

PROMPTS = CODE_PROMPTS[:3]
NEW_TOKENS = 12
POLICIES = ("flexgen-ssd", "instinfer")


@pytest.fixture(scope="module")
def model() -> Transformer:
    return load_pretrained("tiny")


@pytest.fixture(scope="module")
def plans(model: Transformer) -> dict[str, Plan]:
    hw = HardwareSpec.load("demo")
    longest = max(len(prompt.encode()) for prompt in PROMPTS)
    workload = Workload(batch_size=len(PROMPTS), prompt_len=longest, decode_len=NEW_TOKENS)
    return {name: partition(model, hw, workload, name) for name in POLICIES}


@pytest.fixture(scope="module")
def results(plans: dict[str, Plan], model: Transformer) -> dict[str, GenerationResult]:
    made: dict[str, GenerationResult] = {}
    for policy, plan in plans.items():
        with Session(plan, model, clock="virtual") as session:
            made[policy] = session.generate(PROMPTS, max_new_tokens=NEW_TOKENS)
    return made


def plain_tokens(model: Transformer) -> list[list[int]]:
    """Returns the greedy tokens of the jitted model, with neither plan nor session."""
    assert model.tokenizer is not None
    ids = [model.tokenizer.encode(prompt) for prompt in PROMPTS]
    lengths = jnp.asarray([len(row) for row in ids])
    longest = max(map(len, ids))
    padded = np.zeros((len(ids), longest), np.int32)
    for row, prompt in enumerate(ids):
        padded[row, : len(prompt)] = prompt
    step = jax.jit(model)
    positions = jnp.broadcast_to(jnp.arange(longest), padded.shape)
    logits, cache = step(jnp.asarray(padded), model.init_cache(len(ids), longest + NEW_TOKENS), positions)
    last = jnp.take_along_axis(logits, (lengths - 1)[:, None, None], axis=1)[:, 0]
    made = [jnp.argmax(last, axis=-1)]
    for index in range(NEW_TOKENS - 1):
        logits, cache = step(made[-1][:, None], cache, (lengths + index)[:, None])
        made.append(jnp.argmax(logits[:, 0], axis=-1))
    return np.stack(made, axis=1).tolist()


def test_decode_attention_and_nothing_else_is_on_the_drive(plans: dict[str, Plan]) -> None:
    plan = plans["instinfer"]
    drives = {"csd0": 1.0}
    on_drive = {op.name for op in plan.ops("decode") if plan.device_of("decode", op.name) == drives}
    assert on_drive == {op.name for op in plan.ops("decode") if op.kind == "attention"}
    assert len(on_drive) == 4
    assert not any(plan.device_of("prefill", op.name) == drives for op in plan.ops("prefill"))


def test_the_report_names_what_was_decided(plans: dict[str, Plan]) -> None:
    report = plans["instinfer"].report()
    assert all(word in report for word in ("instinfer", "csd0", "gpu0", "attention"))
    assert max(map(len, report.splitlines())) <= 100


@pytest.mark.parametrize("policy", POLICIES)
def test_a_session_generates_the_tokens_of_the_plain_model(
    results: dict[str, GenerationResult], model: Transformer, policy: str
) -> None:
    assert model.tokenizer is not None
    expected = plain_tokens(model)
    assert results[policy].tokens == expected
    assert results[policy].texts == [model.tokenizer.decode(row) for row in expected]


@pytest.mark.parametrize("policy", POLICIES)
def test_emulated_time_is_close_to_what_was_predicted(
    plans: dict[str, Plan], results: dict[str, GenerationResult], policy: str
) -> None:
    prediction = predict_generation(plans[policy], [len(prompt) for prompt in PROMPTS], NEW_TOKENS)
    assert results[policy].decode_s == pytest.approx(prediction.decode_s, rel=0.15)


def test_attention_in_the_drive_moves_fewer_bytes(results: dict[str, GenerationResult]) -> None:
    moved = {policy: result.timeline.moved_bytes("decode") for policy, result in results.items()}
    assert moved["instinfer"]["csd0.up"] < moved["flexgen-ssd"]["csd0.up"] / 10
