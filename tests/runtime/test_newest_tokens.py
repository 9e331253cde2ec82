"""Host memory keeps the newest tokens of what drives hold, and nothing but times and pages changes."""

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from cost_models import FaultSpec, HardwareSpec
from partitioner import Plan, Workload, partition
from partitioner.plan.steps import Move
from runtime import GenerationResult, Session, simulate
from tests.runtime.newest_plans import Layer, newest_plan
from tests.runtime.requests import alone, random_requests
from tests.runtime.ruled_decoder import ALIBI, Rule, ruled_decoder
from tests.runtime.ruled_decoder import VOCAB as RULED_VOCAB
from tests.runtime.tiny_models import PROMPTS, counting_decoder, demo_hardware, plain_tokens, transformer

LOAD = Workload(batch_size=4, prompt_len=12, decode_len=20)
MANY_PROMPTS = [*PROMPTS, [8, 8], [44], [60, 61, 62], [1, 2, 3, 4, 5, 6, 7], list(range(40, 52))]
BY_HEADS: tuple[Layer, Layer] = (((("csd", 4),), 8), ((("gpu", 1), ("csd", 3)), 16))
"""Layer 0 on drives, but for the newest 8 tokens; layer 1 shared by GPU, drives and host, with a longer window than prompts."""
GROUPED: tuple[Layer, Layer] = (((("gpu", 1), ("csd", 3)), 24), ((("csd", 4),), 0))
"""Layer 0 by rows, its window fuller than it ever leaves; layer 1 on drives alone."""


def hardware(num_drives: int, page_bytes: int = 128) -> HardwareSpec:
    return demo_hardware(num_drives).replace("drive.flash.page_bytes", page_bytes)


@cache
def subject(case: str) -> tuple[Any, Plan]:
    """Pages hold 4 tokens of float32, 8 of others."""
    if case == "float32":
        model = transformer("float32")
        return model, newest_plan(model, hardware(2), LOAD, BY_HEADS)
    if case == "float16, grouped heads, three drives":
        model = transformer("float16", num_kv_heads=2)
        return model, newest_plan(model, hardware(3), LOAD, GROUPED)
    if case == "window, slopes and soft cap":
        model = ruled_decoder((Rule(window=9), Rule(slopes=ALIBI, soft_cap=3.0)))
        return model, newest_plan(model, hardware(2), LOAD, (((("csd", 4),), 8), ((("csd", 4),), 4)))
    model = counting_decoder()
    return model, newest_plan(model, hardware(2), LOAD, BY_HEADS)


CASES = ("float32", "float16, grouped heads, three drives", "one token a step")


@pytest.mark.parametrize("case", CASES)
def test_tokens_equal_plain_jit(case: str) -> None:
    """Prompts of 1, 5 and 12 tokens: shorter than windows, longer, and as long as whole pages; twice in one session."""
    model, plan = subject(case)
    with Session(plan, model, clock="virtual") as session:
        first, second = (session.generate(PROMPTS, LOAD.decode_len) for _ in range(2))
    assert first.tokens == second.tokens == plain_tokens(model, PROMPTS, LOAD.decode_len, LOAD.max_len)
    assert {e.resource for e in first.timeline.events if e.phase == "decode"} >= {"host", "csd0"}


@pytest.mark.parametrize("clock", ["virtual", "wall"])
def test_tokens_of_micro_batches_equal_plain_jit(clock: Any) -> None:
    model = transformer("float32")
    plan = newest_plan(model, hardware(2), replace(LOAD, batch_size=8), BY_HEADS, micro_batches=2)
    with Session(plan, model, clock=clock) as session:
        result = session.generate(MANY_PROMPTS, LOAD.decode_len)
    assert result.tokens == plain_tokens(model, MANY_PROMPTS, LOAD.decode_len, LOAD.max_len)


def test_requests_come_and_go_in_recycled_rows() -> None:
    model, plan = subject("float32")
    requests = random_requests(12, seed=4)
    with Session(plan, model, clock="virtual") as session:
        completed = {c.number: c for c in session.serve(requests)}
    for number, request in enumerate(requests):
        assert (completed[number].tokens, completed[number].reason) == alone(model, request, LOAD.max_len)


def test_pages_leave_whole_and_the_newest_are_never_programmed() -> None:
    """A generation ends with tokens in windows; without them, drives keep them in their memory."""
    model = transformer("float32")
    prompts = [list(range(12))] * LOAD.batch_size
    ran: list[GenerationResult] = []
    for newest in (0, 8):
        plan = newest_plan(model, hardware(1), LOAD, [((("csd", 4),), newest)] * 2)
        with Session(plan, model, clock="virtual") as session:
            ran.append(session.generate(prompts, LOAD.decode_len))
    without, windowed = (result.drive_health["csd0"] for result in ran)
    pairs, page = 2 * 4 * LOAD.batch_size * 2, 4  # layers x KV heads x rows x K and V; tokens of a page
    last = LOAD.max_len - 1
    assert without.pages_programmed == pairs * (last // page)
    assert windowed.pages_programmed == pairs * ((last - 8) // page + 1)
    assert windowed.write_amplification == 1.0
    assert without.buffered_tokens > 0
    assert windowed.buffered_tokens == windowed.dram_buffer_bytes == 0
    assert ran[0].tokens == ran[1].tokens


def test_a_drive_that_stops_costs_no_token() -> None:
    """What is left is planned anew, and prompts that are longer now fill the windows of that plan, if it has any."""
    model = transformer("float16")
    hw = hardware(2).with_faults(FaultSpec(stop_after_commands=30), "csd1")
    plan = newest_plan(model, hw, LOAD, [((("csd", 4),), 16)] * 2)
    with Session(plan, model, clock="virtual") as session:
        result = session.generate(PROMPTS, LOAD.decode_len)
    assert result.tokens == plain_tokens(model, PROMPTS, LOAD.decode_len, LOAD.max_len)
    (recovery,) = result.recoveries
    assert recovery.drive == "csd1"


@pytest.mark.parametrize("case", ["float32", "float16, grouped heads, three drives"])
def test_simulations_take_the_time_of_sessions(case: str) -> None:
    model, plan = subject(case)
    prompts = np.random.default_rng(0).integers(0, 90, (LOAD.batch_size, LOAD.prompt_len)).tolist()
    with Session(plan, model, clock="virtual") as session:
        ran = session.generate(prompts, LOAD.decode_len)
    simulated = simulate(plan, every_step=True)
    assert simulated.prefill_s == pytest.approx(ran.prefill_s, rel=1e-9)
    assert simulated.decode_s == pytest.approx(ran.decode_s, rel=1e-9)
    assert simulate(plan).decode_s == pytest.approx(ran.decode_s, rel=0.01)


def test_rules_of_attention_count_from_the_newest_token() -> None:
    model, plan = subject("window, slopes and soft cap")
    prompts = np.random.default_rng(1).integers(0, RULED_VOCAB, (LOAD.batch_size, LOAD.prompt_len)).tolist()
    with Session(plan, model, clock="virtual") as session:
        result = session.generate(prompts, LOAD.decode_len)
    assert result.tokens == plain_tokens(model, prompts, LOAD.decode_len, LOAD.max_len)


def test_drives_get_q_alone_and_statistics_come_back() -> None:
    _, plan = subject("float32")
    moves = [s for s in plan.decode.steps if isinstance(s, Move) and s.attention is not None]
    older = [
        m for m in moves if m.share is not None and m.share.cut is not None and m.share.cut.side == "older"
    ]
    there = [m for m in older if m.kind == "hand_over" and m.dst.startswith("csd")]
    back = [m for m in older if m.kind == "hand_over" and m.src.startswith("csd")]
    assert {len(m.values) for m in there} == {1}
    pairs = [m.share.num_rows * m.share.num_kv_heads for m in back if m.share]
    assert [m.num_bytes for m in back] == [
        n * (8 * 4 + 8) for n in pairs
    ]  # heads of 8 in float32, and two numbers
    assert {m.kind for m in moves} == {"hand_over", "page_out"}


def test_what_the_solver_chooses_generates_the_tokens_of_the_plain_model() -> None:
    """GPU and host have no room for all K and V, and what a drive has of them it gets in whole pages."""
    model, load = transformer("float32"), Workload(batch_size=4, prompt_len=12, decode_len=52)
    hw = hardware(1)
    crowded = replace(
        hw,
        gpus=(replace(hw.gpus[0], memory_bytes=1.7e5),),
        host=replace(hw.host, memory_bytes=24 * 1024),
    )
    plan = partition(model, crowded, load)
    assert any(decision.newest for decision in plan.decisions.ops.values())
    with Session(plan, model, clock="virtual") as session:
        result = session.generate([[*range(9, 21)]] * 4, load.decode_len)
    assert result.tokens == plain_tokens(model, [[*range(9, 21)]] * 4, load.decode_len, load.max_len)
    assert result.drive_health["csd0"].dram_buffer_bytes == 0
