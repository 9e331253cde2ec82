"""Segments: where they end, what they read and leave, and which share an executable."""

from collections import Counter
from collections.abc import Callable

import pytest

from partitioner.plan.decisions import Decision
from partitioner.plan.phase_plan import PhasePlan
from partitioner.plan.plan import Plan
from partitioner.plan.segment_ops import streams_cache, streams_weights
from tests.partitioner.plan.plans import forced_plan, mixed_plan, tiny_plan, unraised_plan, ways

GPU = ways("gpu", "gpu", "gpu")
HOST = ways("host", "host", "host")
CSD = ways("gpu", "csd", "csd")
PLANS: dict[str, Callable[[], Plan]] = {
    "gpu": lambda: forced_plan(GPU, GPU),
    "csd": lambda: forced_plan(CSD, GPU),
    "four drives": lambda: forced_plan(CSD, GPU, num_drives=4),
    "host attention": lambda: forced_plan(ways("gpu", "host", "host"), GPU),
    "streamed cache": lambda: forced_plan(ways("gpu", "gpu", "csd"), GPU),
    "streamed weights": lambda: forced_plan(GPU, GPU, up=ways("gpu", "gpu", "host")),
    "zigzag": lambda: forced_plan(GPU, GPU, norm2=HOST),
    "mixed": mixed_plan,
    "unraised": unraised_plan,
}


def names(phase: PhasePlan) -> list[str]:
    return [s.name for s in phase.segments]


def segment_of(plan: Plan, phase: str, op: str) -> int:
    return next(s.index for s in plan.phase(phase).segments if op in s.ops)


def test_one_device_is_one_segment() -> None:
    plan = PLANS["gpu"]()
    assert names(plan.decode) == ["embed.token .. logits"]
    assert plan.decode.segments[0].ops == tuple(op.name for op in plan.ops("decode"))
    assert plan.decode.segments[0].device == "gpu0"


def test_attention_on_the_drives_is_a_command_of_its_own() -> None:
    segments = PLANS["csd"]().decode.segments
    assert names(PLANS["csd"]().decode) == [
        "embed.token .. blocks.0.attention.value",
        "blocks.0.attention",
        "blocks.0.attention.out .. blocks.1.attention.value",
        "blocks.1.attention",
        "blocks.1.attention.out .. logits",
    ]
    assert [s.attention for s in segments] == [None, "blocks.0.attention", None, "blocks.1.attention", None]
    assert [s.device for s in segments] == ["gpu0", "csd", "gpu0", "csd", "gpu0"]


def test_a_segment_ends_where_the_tier_changes() -> None:
    zigzag = PLANS["zigzag"]().decode
    assert [s.device for s in zigzag.segments] == ["gpu0", "host", "gpu0", "host", "gpu0"]
    assert [s.ops for s in zigzag.segments if s.device == "host"] == [
        ("blocks.0.norm2",),
        ("blocks.1.norm2",),
    ]


def test_a_segment_starts_with_an_op_that_waits_for_its_weights() -> None:
    assert names(PLANS["streamed weights"]().decode) == [
        "embed.token .. blocks.0.norm2",
        "blocks.0.mlp.up .. blocks.1.norm2",
        "blocks.1.mlp.up .. logits",
    ]


def test_a_streamed_cache_is_waited_for_and_let_go() -> None:
    assert names(PLANS["streamed cache"]().decode) == [
        "embed.token .. blocks.0.attention.value",
        "blocks.0.attention",
        "blocks.0.attention.out .. blocks.1.attention.value",
        "blocks.1.attention",
        "blocks.1.attention.out .. logits",
    ]


@pytest.mark.parametrize("plan", ["csd", "streamed cache", "host attention"])
def test_a_prefill_is_cut_behind_a_cache_that_leaves(plan: str) -> None:
    assert names(PLANS[plan]().phase("prefill")) == [
        "embed.token .. blocks.0.attention",
        "blocks.0.attention.out .. blocks.1.attention",
        "blocks.1.attention.out .. logits",
    ]


@pytest.mark.parametrize("name", PLANS)
def test_every_op_and_equation_is_in_order_and_in_one_segment(name: str) -> None:
    plan = PLANS[name]()
    for phase in filter(None, (plan.prefill, plan.decode)):
        assert [op for s in phase.segments for op in s.ops] == [op.name for op in phase.graph.ops]
        assert [s.index for s in phase.segments] == list(range(len(phase.segments)))
        position = {id(e): i for i, e in enumerate(phase.graph.phase.equations)}
        for segment in phase.segments:
            order = [position[id(e)] for e in segment.equations]
            assert order == sorted(set(order))
            assert {id(e) for op in segment.ops for e in phase.op[op].equations} == {
                id(e) for e in segment.equations
            }


@pytest.mark.parametrize("name", PLANS)
def test_what_is_read_later_is_left_behind(name: str) -> None:
    plan = PLANS[name]()
    for phase in filter(None, (plan.prefill, plan.decode)):
        made = {v: s.index for s in phase.segments for v in s.outputs}
        for segment in phase.segments:
            for v in segment.inputs:
                if v not in phase.graph.input_of:
                    assert made[v] < segment.index
        logits = [v for v, o in phase.graph.output_of.items() if o.role == "logits"]
        assert logits
        assert set(logits) <= set(made)


def test_caches_that_live_here_are_left_behind_and_their_buffers_used_again() -> None:
    decode = PLANS["gpu"]().decode
    (segment,) = decode.segments
    caches = {i.name for i in decode.graph.phase.inputs if i.role == "cache"}
    assert len(caches) == 4
    assert {decode.graph.input_of[v].name for v in segment.donated} == caches
    assert {decode.graph.output_of[v].name for v in segment.outputs} == caches | {"logits"}


def test_a_streamed_cache_is_neither_kept_nor_given_away() -> None:
    plan = PLANS["streamed cache"]()
    for segment in plan.decode.segments:
        kept = [
            plan.decode.graph.output_of[v].role for v in segment.outputs if v in plan.decode.graph.output_of
        ]
        assert "cache" not in kept
        assert segment.donated == ()


def test_a_prefill_gives_its_caches_and_takes_no_buffer() -> None:
    for name in ("gpu", "csd"):
        prefill = PLANS[name]().phase("prefill")
        given = {
            prefill.graph.output_of[v].name
            for s in prefill.segments
            for v in s.outputs
            if v in prefill.graph.output_of
        }
        assert given == {i.name for i in prefill.graph.phase.inputs if i.role == "cache"} | {"logits"}
        assert [s.donated for s in prefill.segments] == [()] * len(prefill.segments)


def test_a_command_reads_and_leaves_the_attentions_values() -> None:
    plan = PLANS["csd"]()
    op = plan.decode.op["blocks.1.attention"]
    segment = plan.decode.segments[segment_of(plan, "decode", op.name)]
    before = plan.decode.segments[segment.index - 1]
    assert op.attention is not None
    assert op.attention.output in segment.outputs
    assert {op.attention.query, op.attention.new_key, op.attention.new_value} <= set(before.outputs)
    assert segment.donated == ()


def test_equal_segments_share_an_executable() -> None:
    decode = tiny_plan("instinfer").decode
    shared = Counter(s.executable for s in decode.segments)
    # 4 layers: the start, 4 commands, 3 stretches from one attention to the next, the end
    assert sorted(shared.values()) == [1, 1, 3, 4]


def test_segments_on_different_devices_share_none() -> None:
    decode = forced_plan(GPU, GPU, norm2=HOST).decode
    by_device: dict[str, set[int]] = {}
    for segment in decode.segments:
        by_device.setdefault(segment.device, set()).add(segment.executable)
    assert by_device["host"] == {decode.segments[1].executable}
    assert not by_device["host"] & by_device["gpu0"]


@pytest.mark.parametrize(
    ("decision", "phase", "cache", "weights"),
    [
        (ways("gpu", "gpu", "host"), "decode", True, True),
        (ways("gpu", "gpu", "host"), "prefill", False, True),
        (ways("gpu", "csd", "csd"), "decode", False, True),
        (ways("gpu", "gpu", "gpu"), "decode", False, False),
        (ways("gpu", "host", "gpu"), "decode", True, True),
        (Decision((("prefill", "gpu"), ("decode", "gpu")), "-"), "prefill", False, False),
    ],
)
def test_what_is_streamed(decision: Decision, phase: str, cache: bool, weights: bool) -> None:
    ops = PLANS["gpu"]().decode.op
    attention, compute = ops["blocks.0.attention"], ops["blocks.0.mlp.up"]
    assert streams_cache(attention, decision, phase) == cache
    assert not streams_cache(compute, decision, phase)
    assert not streams_weights(attention, decision, phase)
    if decision.tier(phase) != "csd":
        assert streams_weights(compute, decision, phase) == weights
