"""A session generates what the plain model generates, also from models and prompts that are out of the ordinary."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from partitioner import Plan, Workload, partition
from partitioner.plan.steps import Move
from runtime import GenerationResult, Session
from tests.runtime.tiny_models import (
    PROMPTS,
    WORKLOAD,
    biased_attention,
    counting_decoder,
    demo_hardware,
    plain_tokens,
    plan_for,
    running_mean,
    transformer,
)

POLICIES = ("gpu-only", "deepspeed-host", "flexgen-ssd", "instinfer", "auto")


def generate(plan: Plan, model: Any, num_tokens: int = 10) -> GenerationResult:
    with Session(plan, model, clock="virtual") as session:
        return session.generate(PROMPTS, max_new_tokens=num_tokens)


def plain(model: Any, num_tokens: int = 10) -> list[list[int]]:
    return plain_tokens(model, PROMPTS, num_tokens, WORKLOAD.max_len)


class TestModels:
    """Models in which there is nothing for a drive to do, and what becomes of the policies."""

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("make", [biased_attention, running_mean])
    def test_state_of_no_raised_attention_stays_on_the_gpu(
        self, make: Callable[[], Any], policy: str
    ) -> None:
        """No policy fails for want of an attention to place: each comes to the same plan, and the plan says why."""
        model = make()
        plan = plan_for(model, policy)
        assert plan.caches == {}
        assert {segment.device for segment in plan.decode.segments} == {"gpu0"}
        assert len(plan.decode.graph.unraised) == 1
        result = generate(plan, model)
        assert result.tokens == plain(model)
        assert result.drive_health == {}

    def test_state_of_no_raised_attention_is_prefilled_in_slices(self) -> None:
        model = biased_attention()
        hw = demo_hardware().with_memory("gpu0", 120e3)
        plan = partition(model, hw, WORKLOAD, "gpu-only")
        assert plan.prefill is not None
        assert plan.prefill.rows < WORKLOAD.batch_size
        assert generate(plan, model).tokens == plain(model)

    def test_a_model_that_takes_one_token_at_a_time_has_no_prefill(self) -> None:
        model = counting_decoder()
        plan = plan_for(model, "instinfer")
        assert plan.prefill is None
        result = generate(plan, model)
        assert result.tokens == plain(model)
        assert result.timeline.busy_s("prefill") == {}
        attended = [e for e in result.timeline.events if e.resource == "csd0"]
        steps = max(len(prompt) for prompt in PROMPTS) + 10 - 1
        assert len(attended) == 2 * steps


def test_pages_fill_and_flush() -> None:
    """Pages of a few tokens fill and are programmed and read back many times over."""
    model = transformer("float16")
    plan = partition(model, demo_hardware().replace("drive.flash.page_bytes", 128), WORKLOAD, "instinfer")
    result = generate(plan, model)
    health = result.drive_health["csd0"]
    assert health.pages_read > health.pages_programmed > 0
    assert result.timeline.moved_bytes("decode")["csd0"] == health.pages_read * 128
    assert result.tokens == plain(model)


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
    assert generate(sliced, model).tokens == plain(model)


class TestLengths:
    """Generations shorter than planned, and several in one session."""

    @pytest.mark.parametrize("policy", POLICIES)
    @pytest.mark.parametrize("num_tokens", [1, 2, 9])
    def test_ending_early_gives_the_first_tokens(self, policy: str, num_tokens: int) -> None:
        model = transformer()
        result = generate(plan_for(model, policy), model, num_tokens)
        assert result.tokens == [row[:num_tokens] for row in plain(model)]
        assert result.decode_s == pytest.approx(0.0) if num_tokens == 1 else result.decode_s > 0.0

    def test_ending_early_without_a_prefill(self) -> None:
        model = counting_decoder()
        result = generate(plan_for(model, "instinfer"), model, 1)
        assert result.tokens == [row[:1] for row in plain(model)]

    @pytest.mark.parametrize("lengths", [(1, 1), (1, 5), (5, 1)])
    @pytest.mark.parametrize("policy", ["gpu-only", "instinfer"])
    @pytest.mark.parametrize("make", [counting_decoder, transformer])
    def test_the_smallest_workloads(
        self, make: Callable[[], Any], policy: str, lengths: tuple[int, int]
    ) -> None:
        model, workload = make(), Workload(1, *lengths)
        prompt = [7] * workload.prompt_len
        with Session(plan_for(model, policy, 3, workload), model, clock="virtual") as session:
            result = session.generate([prompt], max_new_tokens=workload.decode_len)
        assert result.tokens == plain_tokens(model, [prompt], workload.decode_len, workload.max_len)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_generating_again_starts_fresh(self, policy: str) -> None:
        model = transformer()
        with Session(plan_for(model, policy), model, clock="virtual") as session:
            first = session.generate(PROMPTS, max_new_tokens=6)
            other = session.generate([[1, 2]], max_new_tokens=3)
            again = session.generate(PROMPTS, max_new_tokens=6)
        assert first.tokens == again.tokens == plain(model, 6)
        assert other.tokens == plain_tokens(model, [[1, 2]], 3, WORKLOAD.max_len)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_generating_again_takes_as_long(self, policy: str) -> None:
        """Erasing what the last generation stored is over when the next one begins."""
        model = transformer("float16")
        hw = demo_hardware().replace("drive.flash.page_bytes", 128)
        plan = partition(model, hw, WORKLOAD, policy)
        with Session(plan, model, clock="virtual") as session:
            first, *others = (session.generate(PROMPTS, max_new_tokens=10) for _ in range(3))
        for other in others:
            assert other.prefill_s == pytest.approx(first.prefill_s, rel=1e-6)
            assert other.decode_s == pytest.approx(first.decode_s, rel=0.02)
        if policy in ("instinfer", "flexgen-ssd"):
            assert others[-1].drive_health["csd0"].blocks_erased > 0

    def test_two_sessions_on_one_plan_are_independent(self) -> None:
        model = transformer()
        plan = plan_for(model, "instinfer")
        with Session(plan, model, "virtual") as one, Session(plan, model, "virtual") as two:
            tokens = [one.generate(PROMPTS, 5).tokens, two.generate([[8]], 5).tokens]
            assert one.generate(PROMPTS, 5).tokens == tokens[0] == plain(model, 5)
        assert tokens[1] == plain_tokens(model, [[8]], 5, WORKLOAD.max_len)


class TestWhatListenersHear:
    """Tokens and progress on the way."""

    @pytest.mark.parametrize("make", [counting_decoder, transformer])
    def test_tokens_are_handed_out_in_order(self, make: Callable[[], Any]) -> None:
        model = make()
        heard: list[tuple[int, int]] = []
        with Session(plan_for(model, "gpu-only"), model, clock="virtual") as session:
            result = session.generate(PROMPTS, 4, on_token=lambda row, token: heard.append((row, token)))
        assert {row for row, _ in heard} == {0, 1, 2}
        for row, tokens in enumerate(result.tokens):
            assert [t for r, t in heard if r == row] == tokens

    @pytest.mark.parametrize("policy", ["gpu-only", "instinfer"])
    def test_a_listener_may_break_off(self, policy: str) -> None:
        """What it raises arrives as it is, and the session goes on to the next generation."""
        model = transformer()
        heard: list[int] = []

        def listen(row: int, token: int) -> None:
            heard.append(token)
            if len(heard) == 5:
                raise StopIteration("enough")

        with Session(plan_for(model, policy), model, clock="virtual") as session:
            with pytest.raises(StopIteration, match="enough"):
                session.generate(PROMPTS, 10, on_token=listen)
            assert len(heard) == 5
            assert session.generate(PROMPTS, 6).tokens == plain(model, 6)

    def test_progress_tells_every_stage(self) -> None:
        model = transformer()
        stages: dict[str, tuple[int, int]] = {}

        def progress(stage: str, done: int, total: int) -> None:
            stages[stage] = (done, total)

        with Session(plan_for(model, "gpu-only"), model, clock="virtual", progress=progress) as session:
            session.generate(PROMPTS, max_new_tokens=3)
        assert set(stages) == {"loading", "compiling prefill", "compiling decode", "prefill", "decode"}
        assert all(done == total for done, total in stages.values())


def test_result_adds_up() -> None:
    model = transformer()
    result = generate(plan_for(model, "instinfer"), model)
    assert result.num_tokens == 30
    assert result.total_s == pytest.approx(result.prefill_s + result.decode_s)
    assert result.tokens_per_second == pytest.approx(30 / result.total_s)
    assert result.fidelity == 1.0
    assert result.texts is None
    assert result.timeline.end_s <= result.total_s * (1 + 1e-9)
    assert all(e.start_s >= 0 for e in result.timeline.events)
