"""Requests that come and go get the tokens that each gets alone, and nothing is compiled for them."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any

import jax
import pytest

from partitioner import Plan, SparF, Workload, partition
from runtime import Completed, Request, Session, SessionError
from tests.runtime.requests import SAMPLINGS, alone, random_requests
from tests.runtime.split_plans import Rectangle, in_two_micro_batches, split_plan
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

EIGHT = dataclasses.replace(WORKLOAD, batch_size=8)
HEADS = (0, 4)
LAYERS: Sequence[Sequence[Rectangle]] = (
    [("gpu0", (0, 1), HEADS), ("host", (1, 3), HEADS), ("csd0", (3, 4), HEADS)],
    [("host", (0, 4), (0, 1)), ("csd0", (0, 4), (1, 2)), ("csd1", (0, 4), (2, 4))],
)
"""Layer 0 by rows; layer 1 by heads."""


def instinfer(sparsity: SparF | None = None) -> Plan:
    hw = demo_hardware().replace("drive.flash.page_bytes", 128)
    return partition(transformer(), hw, dataclasses.replace(EIGHT, sparsity=sparsity), "instinfer")


def auto() -> Plan:
    """With a GPU and a host too small for all caches, so that every tier holds some."""
    hw = demo_hardware().with_memory("gpu0", 120e3).with_memory("host", 20e3)
    plan = partition(transformer(), hw, EIGHT, "auto")
    assert {s.device for shares in plan.caches.values() for s in shares} == {"gpu0", "host", "csd0"}
    return plan


def micro_batches() -> Plan:
    """Two of four rows, attended to by GPU, host and drives, and prefilled two rows at a time."""
    pairs = plan_for(transformer(), "instinfer", 2, dataclasses.replace(WORKLOAD, batch_size=2))
    plan = dataclasses.replace(plan_for(transformer(), "instinfer", 2), prefill=pairs.prefill)
    return in_two_micro_batches(split_plan(plan, LAYERS))


def served(plan: Plan, model: Any, requests: Sequence[Request]) -> list[Completed]:
    with Session(plan, model, clock="virtual") as session:
        return list(session.serve(requests))


def check_alone(model: Any, completed: Sequence[Completed], count: int) -> None:
    """Requires that every request has ended, with the tokens that the plain model gives it."""
    assert sorted(c.number for c in completed) == list(range(count))
    for c in completed:
        assert (c.tokens, c.reason) == alone(model, c.request), f"request {c.number}"


@pytest.mark.parametrize("make", [instinfer, auto])
def test_64_requests_through_8_slots_get_what_each_gets_alone(make: Callable[[], Plan]) -> None:
    requests = random_requests(64)
    completed = served(make(), transformer(), requests)
    check_alone(transformer(), completed, 64)
    assert {c.reason for c in completed} == {"length", "eos"}
    assert {c.request.sampling for c in completed} == set(SAMPLINGS)


def test_64_requests_to_drives_that_attend_sparsely_get_what_each_gets_alone() -> None:
    requests = random_requests(64, seed=1)
    with Session(instinfer(SparF(4, 6)), transformer(), clock="virtual") as session:
        together = {c.number: c.tokens for c in session.serve(requests)}
        by_itself = [next(session.serve([request])).tokens for request in requests]
    assert [together[number] for number in range(64)] == by_itself
    exact = [alone(transformer(), request)[0] for request in requests]
    assert by_itself != exact


@pytest.mark.parametrize(
    "make",
    [
        micro_batches,
        lambda: plan_for(transformer(), "gpu-only"),
        lambda: plan_for(transformer(), "deepspeed-host"),
        lambda: plan_for(transformer(), "flexgen-ssd"),
    ],
    ids=["micro_batches", "gpu-only", "deepspeed-host", "flexgen-ssd"],
)
def test_every_kind_of_plan_serves(make: Callable[[], Plan]) -> None:
    check_alone(transformer(), served(make(), transformer(), random_requests(20, seed=2)), 20)


COMPILED: list[str] = []


@cache
def count_compilations() -> None:
    """Notes every compilation of this process from now on."""

    def note(event: str, duration_secs: float, **_: str | int) -> None:
        if "backend_compile" in event:
            COMPILED.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)


def test_nothing_is_compiled_when_requests_come_and_go() -> None:
    count_compilations()
    jax.jit(lambda x: x * 3 + len(COMPILED))(1.0)
    assert COMPILED
    with Session(micro_batches(), transformer(), clock="virtual") as session:
        serving = session.serve(random_requests(24, seed=3))
        next(serving)
        COMPILED.clear()
        list(serving)
        list(session.serve(random_requests(9, seed=4)))
    assert COMPILED == []


def test_requests_are_asked_for_when_a_slot_is_free() -> None:
    taken: list[int] = []

    def requests() -> Iterator[Request]:
        for number, tokens in enumerate((2, 4, 6, 8, 3, 3, 3)):
            taken.append(number)
            yield Request([number + 1], tokens, eos=None)

    with Session(plan_for(transformer(), "instinfer"), transformer(), clock="virtual") as session:
        serving = session.serve(requests())
        assert taken == []
        first = next(serving)
        assert (first.number, taken) == (0, [0, 1, 2, 3])
        rest = list(serving)
        totals = serving.totals
    assert [c.number for c in (first, *rest)] == [0, 1, 4, 2, 5, 6, 3]
    assert totals.num_requests == 7
    assert totals.num_tokens == sum(len(c.tokens) for c in (first, *rest)) == 29
    assert totals.tokens_per_second == pytest.approx(29 / totals.total_s)
    busy_s = sum(c.timings.total_s for c in (first, *rest))
    assert totals.slot_utilisation == pytest.approx(busy_s / (4 * totals.total_s))
    assert 0.5 < totals.slot_utilisation < 1.0
    assert 0 < totals.busy_s["csd0"] <= totals.total_s
    for c in rest:
        assert 0 < c.timings.time_to_first_token_s < c.timings.total_s
        assert c.timings.tokens_per_second == pytest.approx(len(c.tokens) / c.timings.total_s)


def test_free_slots_cost_drives_nothing() -> None:
    """One request in four slots reads what it would in a plan for one row; so does the last one of four, once others ended."""
    hw = demo_hardware().replace("drive.flash.page_bytes", 128)
    request = Request(list(range(12)), 10, eos=None)
    pages: dict[str, int] = {}
    for case, rows, short in (("one", 1, 0), ("four", 4, 0), ("left", 4, 3)):
        plan = partition(transformer(), hw, dataclasses.replace(WORKLOAD, batch_size=rows), "instinfer")
        with Session(plan, transformer(), clock="virtual") as session:
            serving = session.serve([request, *[Request([7], 1, eos=None)] * short])
            list(serving)
            pages[case] = serving.totals.drive_health["csd0"].pages_read
    assert pages["one"] == pages["four"] == pages["left"] > 0


def test_prompts_that_go_in_token_by_token() -> None:
    """A model without a prefill whose positions are its rows' own."""
    step = transformer()
    plan = dataclasses.replace(plan_for(step, "instinfer"), prefill=None)
    check_alone(step, served(plan, step, random_requests(10, seed=5)), 10)


class TestErrors:
    """What cannot be served, and what goes on after it."""

    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            ("text", r"request 1 is a str; give runtime.Request\(prompt"),
            (Request([], 4), "prompt 1 is empty; give at least one token"),
            (Request(list(range(13)), 4), "prompt 1 has 13 tokens, the plan is for at most 12; shorten it"),
            (Request([1], 11), "max_new_tokens is 11, the plan has room for 10"),
            (Request([1], 3, eos=101), "eos is 101; give token ids from 0 to 100"),
            (Request([1], 3, eos=2.0), "eos is 2.0; give token ids from 0 to 100"),  # pyright: ignore[reportArgumentType]
            (Request([1], 3, 0.7), "sampling of request 1 is 0.7; give runtime.Sampling"),  # pyright: ignore[reportArgumentType]
        ],
    )
    def test_a_request_that_makes_no_sense_leaves_the_others_alone(self, request_: Any, message: str) -> None:
        model = transformer()
        with Session(plan_for(model, "gpu-only"), model, clock="virtual") as session:
            serving = session.serve([Request([1], 4, eos=None), request_, Request([2], 4, eos=None)])
            with pytest.raises(SessionError, match=message):
                next(serving)
            assert [c.tokens for c in serving] == plain_tokens(model, [[1], [2]], 4, WORKLOAD.max_len)

    @pytest.mark.parametrize("make", [counting_decoder, running_mean])
    def test_state_that_rows_share_is_refused(self, make: Callable[[], Any]) -> None:
        with Session(plan_for(make(), "gpu-only"), make(), clock="virtual") as session:
            with pytest.raises(SessionError, match=r"the model counts tokens in .*, one number for all rows"):
                session.serve([])
            assert session.generate(PROMPTS, 3).tokens == plain_tokens(make(), PROMPTS, 3, WORKLOAD.max_len)

    def test_state_whose_rows_cannot_be_told_is_refused(self) -> None:
        """Four rows and four heads look alike; with three rows, they do not."""
        model = biased_attention()
        with (
            Session(plan_for(model, "gpu-only"), model, clock="virtual") as session,
            pytest.raises(SessionError, match=r"2 axes of the state .* look like its 4 rows"),
        ):
            session.serve([])
        plan = plan_for(model, "gpu-only", 1, Workload(3, WORKLOAD.prompt_len, WORKLOAD.decode_len))
        check_alone(model, served(plan, model, random_requests(8, seed=6)), 8)

    def test_a_session_that_goes_on_ends_what_it_served(self) -> None:
        model = transformer()
        with Session(plan_for(model, "instinfer"), model, clock="virtual") as session:
            serving = session.serve(random_requests(8))
            next(serving)
            assert session.generate(PROMPTS, 3).tokens == plain_tokens(model, PROMPTS, 3, WORKLOAD.max_len)
            with pytest.raises(SessionError, match="has begun something else since; serve again"):
                list(serving)
        with pytest.raises(SessionError, match="the session is closed; open a new one"):
            session.serve([])
