"""Requests that come and go get the tokens that each gets alone, and nothing is compiled for them."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from partitioner import Plan, SparF, partition
from runtime import Completed, Request, Session
from tests.runtime.requests import SAMPLINGS, alone, random_requests
from tests.runtime.split_plans import Rectangle, in_two_micro_batches, split_plan
from tests.runtime.tiny_models import (
    WORKLOAD,
    demo_hardware,
    plan_for,
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
