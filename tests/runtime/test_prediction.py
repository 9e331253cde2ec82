"""On the virtual clock, uniform prompts of full length take as long as the plan predicts.

Prediction and emulation share parameters and no code: the plan adds up closed forms, the session reserves links, flash channels
and processors one request after the other. Where they agree, both are likely right.
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from models import Transformer, load_pretrained
from partitioner import Plan, Workload, partition
from runtime import GenerationResult, Session
from tests.runtime.tiny_models import demo_hardware, plain_run

POLICIES = ("gpu-only", "deepspeed-host", "flexgen-ssd", "instinfer", "auto")
ROOM = {"gpu-only": "gpu0", "deepspeed-host": "host"}
TOLERANCE = 0.05
NEW_TOKENS = 9


class Held(NamedTuple):
    """A plan, and what came of running it."""

    plan: Plan
    prompts: list[list[int]]
    result: GenerationResult


@cache
def tiny() -> Transformer:
    return load_pretrained("tiny")


@cache
def held(policy: str, batch_size: int) -> Held:
    """Runs the shipped model on the demo system, with more memory where a policy wants all of the cache in it."""
    hw = demo_hardware()
    if policy in ROOM:
        hw = hw.with_memory(ROOM[policy], 40e6)
    workload = Workload(batch_size, prompt_len=488, decode_len=NEW_TOKENS)
    plan = partition(tiny(), hw, workload, policy)
    draws = np.random.default_rng(0).integers(0, 256, (batch_size, workload.prompt_len))
    prompts = draws.tolist()
    with Session(plan, tiny(), clock="virtual") as session:
        return Held(plan, prompts, session.generate(prompts, max_new_tokens=NEW_TOKENS))


@pytest.fixture(scope="module", autouse=True)
def _forget() -> Iterator[None]:
    yield
    held.cache_clear()


@pytest.mark.parametrize("policy", POLICIES)
def test_emulated_total_is_close_to_the_prediction(policy: str) -> None:
    plan, _, result = held(policy, 4)
    assert result.total_s == pytest.approx(plan.total_seconds, rel=TOLERANCE)
    assert result.prefill_s == pytest.approx(plan.prefill_seconds, rel=TOLERANCE)
    assert result.decode_s == pytest.approx(plan.total_decode_seconds, rel=TOLERANCE)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_resource_is_as_busy_as_predicted(policy: str) -> None:
    """Links carry the same bytes; devices are in use about as long, not just the slowest of them."""
    plan, _, result = held(policy, 4)
    measured = result.timeline.busy_s("decode")
    predicted: dict[str, float] = {}
    for context, steps in plan.workload.decode_contexts(with_prefill=True):
        for resource, seconds in plan.predicted_timeline("decode", context).busy_s().items():
            predicted[resource] = predicted.get(resource, 0.0) + steps * seconds
    assert set(measured) == set(predicted)
    for resource, seconds in predicted.items():
        tolerance = 1e-6 if "." in resource else 0.1
        assert measured[resource] == pytest.approx(seconds, rel=tolerance), resource


class TestThreeTiers:
    """With the demo's memory, ``auto`` keeps some of the caches on each of GPU, host and drive."""

    def test_every_tier_holds_a_share_and_some_layers_are_split(self) -> None:
        plan = held("auto", 8).plan
        assert {s.device for shares in plan.caches.values() for s in shares} == {"gpu0", "host", "csd0"}
        assert any(len({s.device for s in shares}) > 1 for shares in plan.caches.values())

    def test_tokens_equal_plain_jit(self) -> None:
        plan, prompts, result = held("auto", 8)
        rows = (0, 7)
        expected = plain_run(tiny(), [prompts[row] for row in rows], NEW_TOKENS, plan.workload.max_len)
        assert expected.margin > 1e-3
        assert [result.tokens[row] for row in rows] == expected.tokens

    def test_emulated_total_is_close_to_the_prediction(self) -> None:
        plan, _, result = held("auto", 8)
        assert result.total_s == pytest.approx(plan.total_seconds, rel=TOLERANCE)


@pytest.mark.parametrize("policy", ["flexgen-ssd", "instinfer"])
def test_drives_program_the_bytes_predicted(policy: str) -> None:
    plan, _, result = held(policy, 4)
    assert plan.endurance is not None
    predicted = {drive.device: drive.generation_bytes for drive in plan.endurance.drives}
    programmed = {name: health.bytes_programmed for name, health in result.drive_health.items()}
    assert min(predicted.values()) > 0
    assert programmed == predicted
