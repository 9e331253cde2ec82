"""Serving on drives that fail: requests in slots begin again from their tokens and get the same ones."""

from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from cost_models import FaultSpec
from partitioner import SparF, partition
from partitioner.frontend import StepFunction, from_step
from runtime import Session
from tests.runtime.requests import alone, random_requests
from tests.runtime.ruled_decoder import Rule, ruled_decoder
from tests.runtime.tiny_models import WORKLOAD, biased_attention, demo_hardware, transformer


def session(faults: FaultSpec | None, num_drives: int = 1, sparsity: SparF | None = None) -> Session:
    hw = demo_hardware(num_drives).replace("drive.flash.page_bytes", 128)
    if faults is not None:
        hw = hw.with_faults(faults, "csd0")
    plan = partition(transformer(), hw, replace(WORKLOAD, sparsity=sparsity), "instinfer")
    return Session(plan, transformer(), clock="virtual")


@pytest.mark.parametrize(
    ("faults", "given_up"),
    [(FaultSpec(stop_after_commands=40), True), (FaultSpec(uncorrectable_per_page_read=0.004), False)],
)
def test_requests_get_their_tokens_all_the_same(faults: FaultSpec, given_up: bool) -> None:
    requests = random_requests(12, seed=7)
    with session(faults, num_drives=2) as opened:
        serving = opened.serve(requests)
        completed = list(serving)
        recoveries = serving.totals.recoveries
        again = list(opened.serve(requests[:2]))
    assert sorted(c.number for c in completed) == list(range(12))
    for c in (*completed, *again):
        assert (c.tokens, c.reason) == alone(transformer(), c.request)
    assert recoveries
    assert all(r.drive == "csd0" and 0 <= r.begin_s <= r.resumed_s for r in recoveries)
    assert any(r.given_up for r in recoveries) == given_up


def test_sparse_requests_get_their_tokens_all_the_same() -> None:
    requests = random_requests(8, seed=8)
    found = []
    for faults in (None, FaultSpec(uncorrectable_per_page_read=0.002, seed=1)):
        with session(faults, sparsity=SparF(4, 6)) as opened:
            serving = opened.serve(requests)
            found.append({c.number: c.tokens for c in serving})
            recoveries = serving.totals.recoveries
    assert recoveries
    assert not any(r.given_up for r in recoveries)  # once a drive is left out, what remains attends exactly
    assert found[0] == found[1]


@cache
def half_raised() -> StepFunction:
    """Two decoders side by side, logits added up: one that drives attend for, one whose state is the model's own affair."""
    parts = {"raised": ruled_decoder((Rule(),)), "plain": biased_attention()}

    def step(params: Any, tokens: Any, state: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        logits_at = positions[:, 0]  # neither of the two selects logits
        made = {n: p.step(params[n], tokens, state[n], positions, mask, logits_at) for n, p in parts.items()}
        return sum(logits for logits, _ in made.values()), {n: after for n, (_, after) in made.items()}

    def init_cache(rows: int, slots: int) -> Any:
        return {n: p.init_state(rows, slots) for n, p in parts.items()}

    return from_step(step, params={n: p.params for n, p in parts.items()}, init_cache=init_cache, name="half")


def test_rows_of_the_model_s_own_state_stay_apart_after_a_drive_is_given_up() -> None:
    hw = demo_hardware(2).replace("drive.flash.page_bytes", 128)
    hw = hw.with_faults(FaultSpec(stop_after_commands=8), "csd0")
    model = half_raised()
    plan = partition(model, hw, replace(WORKLOAD, batch_size=3), "instinfer")
    assert plan.caches
    with Session(plan, model, clock="virtual") as opened:
        serving = opened.serve(random_requests(10, seed=9))
        completed = list(serving)
        assert any(r.given_up for r in serving.totals.recoveries)
    for c in completed:
        assert (c.tokens, c.reason) == alone(model, c.request), f"request {c.number}"
