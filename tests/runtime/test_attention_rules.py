"""Windows, soft caps and biases by distance: wherever a cache is, sessions generate the plain model's tokens."""

import re
from collections.abc import Sequence

import numpy as np
import pytest

from partitioner import Plan, SparF, Workload, partition
from partitioner.frontend import StepFunction
from partitioner.plan.steps import Run
from runtime import Session
from runtime.sparse_attention import sparse_of
from tests.runtime.ruled_decoder import ALIBI, Rule, ruled_decoder
from tests.runtime.split_plans import Rectangle, split_plan
from tests.runtime.tiny_models import demo_hardware, plain_run

PROMPTS = [[5, 9, 77, 31, 2], list(range(20, 32)), [3], [60, 61, 62, 8, 9, 44, 7]]
NEW_TOKENS = 24
WORKLOAD = Workload(batch_size=4, prompt_len=12, decode_len=NEW_TOKENS)
MODELS = {
    "alternating windows, capped": (Rule(5.0, window=9), Rule(5.0), Rule(5.0, window=9)),
    "bias by distance": (Rule(slopes=ALIBI), Rule(slopes=ALIBI)),
    "all at once": (Rule(4.0, window=17, slopes=ALIBI), Rule(window=2)),
}
CASES = list(zip(MODELS, (2, 4, 2), strict=True))
HEADS = (0, 2)
SHARES: Sequence[Rectangle] = [
    ("gpu0", (0, 1), HEADS),
    ("host", (1, 4), (0, 1)),
    ("csd0", (1, 2), (1, 2)),
    ("csd1", (2, 4), (1, 2)),
]
"""Rows and KV heads of one attention over all kinds of devices."""


def plan_of(name: str, kv_heads: int, policy: str, sparsity: SparF | None = None) -> Plan:
    """Plans for pages that hold 8 tokens of a head, so that most of a cache is in flash."""
    hw = demo_hardware(2).replace("drive.flash.page_bytes", 256)
    load = Workload(WORKLOAD.batch_size, WORKLOAD.prompt_len, WORKLOAD.decode_len, sparsity)
    return partition(ruled_decoder(MODELS[name], kv_heads), hw, load, policy)


def assert_plain_tokens(name: str, kv_heads: int, plan: Plan) -> None:
    assert_tokens_of(ruled_decoder(MODELS[name], kv_heads), plan)


def assert_tokens_of(model: StepFunction, plan: Plan) -> None:
    with Session(plan, model, clock="virtual") as session:
        result = session.generate(PROMPTS, NEW_TOKENS)
    expected = plain_run(model, PROMPTS, NEW_TOKENS, WORKLOAD.max_len)
    assert expected.margin > 1e-4  # a token that differs is no matter of rounding
    assert result.tokens == expected.tokens


@pytest.mark.parametrize(("name", "kv_heads"), CASES)
def test_drives_give_the_plain_model_s_tokens(name: str, kv_heads: int) -> None:
    plan = plan_of(name, kv_heads, "instinfer")
    attentions = [op.attention for op in plan.ops("decode") if op.attention]
    found = [(a.soft_cap, a.window) for a in attentions]
    assert found == [(rule.soft_cap, rule.window) for rule in MODELS[name]]
    for attention, rule in zip(attentions, MODELS[name], strict=True):
        assert (attention.slopes is None) == (rule.slopes is None)
        np.testing.assert_allclose(attention.slopes or (), rule.slopes or (), rtol=1e-5)
    assert_plain_tokens(name, kv_heads, plan)


@pytest.mark.parametrize("name", MODELS)
def test_gpu_host_and_drives_together_give_the_plain_model_s_tokens(name: str) -> None:
    plan = split_plan(plan_of(name, 2, "instinfer"), [SHARES] * len(MODELS[name]))
    assert {s.device for s in plan.decode.steps if isinstance(s, Run)} == {"gpu0", "host", "csd0", "csd1"}
    assert_plain_tokens(name, 2, plan)


def test_the_host_attends_to_layers_with_unlike_kv_heads() -> None:
    """What a layer's parts are put together by depends on its heads, also where all parts come over links."""
    heads = (4, 2, 1)
    model = ruled_decoder(tuple(Rule(kv_heads=count) for count in heads))
    plan = split_plan(
        partition(model, demo_hardware(1), WORKLOAD, "instinfer"), [[("host", (0, 4), (0, n))] for n in heads]
    )
    assert_tokens_of(model, plan)


@pytest.mark.parametrize(("name", "kv_heads"), [("bias by distance", 2), ("all at once", 4)])
def test_sparse_attention_that_covers_the_context_is_exact(name: str, kv_heads: int) -> None:
    assert_plain_tokens(name, kv_heads, plan_of(name, kv_heads, "instinfer", SparF(8, 64)))


@pytest.mark.parametrize(("kv_heads", "window", "mean"), [(4, None, True), (2, None, False), (4, 16, False)])
def test_what_drives_are_told_of_sparse_attention_in_a_window(
    kv_heads: int, window: int | None, mean: bool
) -> None:
    """A ratio counts the tokens of the window; the mean of V is over all tokens, so a window does without."""
    hw = demo_hardware(1).replace("drive.flash.page_bytes", 256)
    load = Workload(4, 12, NEW_TOKENS, SparF.ratio(2))
    plan = partition(ruled_decoder((Rule(window=window),), kv_heads), hw, load, "instinfer")
    (attention,) = (op.attention for op in plan.ops("decode") if op.attention)
    told = sparse_of(attention, np.array([8, 36]))
    assert told is not None
    assert told.mean_value == mean
    assert told.num_tokens.tolist() == [2, 9 if window is None else 4]
    assert told.num_newest.tolist() == [1, 3 if window is None else 1]
    reads = plan.costing.drive_cache(attention).reads(36)
    assert reads is not None
    assert (reads.num_tokens, reads.num_newest) == (told.num_tokens[1], told.num_newest[1])


@pytest.mark.parametrize("window", [None, 9])
def test_a_window_bounds_what_drives_read_and_what_is_predicted(window: int | None) -> None:
    """Pages of 8 tokens that hold any of the window; the one that a token fills is written once it has been attended to."""
    hw = demo_hardware(1).replace("drive.flash.page_bytes", 256)
    model = ruled_decoder((Rule(window=window),))
    plan = partition(model, hw, WORKLOAD, "instinfer")
    (attention,) = (op.attention for op in plan.ops("decode") if op.attention)
    with Session(plan, model, clock="virtual") as session:
        result = session.generate([list(range(12))] * 4, NEW_TOKENS)
    contexts = range(WORKLOAD.prompt_len + 1, WORKLOAD.max_len)
    oldest = [0 if window is None else n - window for n in contexts]
    pages = [(n - 1) // 8 - first // 8 for n, first in zip(contexts, oldest, strict=True)]
    assert result.drive_health["csd0"].pages_read == 2 * 4 * 4 * sum(pages)
    for n, first in zip(contexts, oldest, strict=True):
        assert plan.costing.attended_bytes(attention, n) == 256 * 2 * 4 * 4 * (n // 8 - first // 8)
    # older tokens are kept: whole pages of K and V for the longest context
    assert plan.costing.cache_bytes(attention, "csd") == 256 * 2 * 4 * 4 * 5


def test_reports_say_by_what_rule_a_layer_attends() -> None:
    report = partition(
        ruled_decoder((Rule(5.0, window=9), Rule(5.0, slopes=ALIBI))), demo_hardware(1), WORKLOAD, "gpu-only"
    ).report()
    assert re.search(r"scale +dtype +cap +window +slopes", report)
    assert re.search(r"float32 +5 +9 +-\n.*float32 +5 +- +0.00391 to 0.25\n", report)
