"""The whole story in a few seconds: plan the shipped model, run it, and get the plain model's tokens."""

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from cost_models import HardwareSpec
from models import Transformer, load_pretrained
from partitioner import Plan, Workload, partition
from runtime import Session

PROMPTS = (
    "def mean(values):\n    return sum(values) / ",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def pu",
    "import os\nimport sy",
)
NEW_TOKENS = 12


@pytest.fixture(scope="module")
def model() -> Transformer:
    return load_pretrained("tiny")


@pytest.fixture(scope="module")
def plans(model: Transformer) -> dict[str, Plan]:
    hw = HardwareSpec.load("demo")
    longest = max(len(prompt.encode()) for prompt in PROMPTS)
    workload = Workload(batch_size=len(PROMPTS), prompt_len=longest, decode_len=NEW_TOKENS)
    return {name: partition(model, hw, workload, name) for name in ("flexgen-ssd", "instinfer")}


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


@pytest.mark.parametrize("policy", ["flexgen-ssd", "instinfer"])
def test_a_session_generates_the_tokens_of_the_plain_model(
    plans: dict[str, Plan], model: Transformer, policy: str
) -> None:
    assert model.tokenizer is not None
    with Session(plans[policy], model, clock="virtual") as session:
        result = session.generate(list(PROMPTS), max_new_tokens=NEW_TOKENS)
    expected = plain_tokens(model)
    assert [list(map(int, row)) for row in result.tokens] == expected
    assert result.texts == [model.tokenizer.decode(row) for row in expected]


def test_emulated_time_is_what_was_predicted(plans: dict[str, Plan], model: Transformer) -> None:
    with Session(plans["instinfer"], model, clock="virtual") as session:
        result = session.generate(list(PROMPTS), max_new_tokens=NEW_TOKENS)
    assert result.tokens_per_second == pytest.approx(plans["instinfer"].tokens_per_second, rel=0.15)
