"""Serving on drives that fail: requests in slots begin again from their tokens and get the same ones."""

from dataclasses import replace

import pytest

from cost_models import FaultSpec
from partitioner import SparF, partition
from runtime import Session
from tests.runtime.requests import alone, random_requests
from tests.runtime.tiny_models import WORKLOAD, demo_hardware, transformer


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
