"""Attentions learn how sparsely drives attend, and forget it where no drive does."""

import pytest

from models import load_pretrained
from partitioner import SparF, Workload, WorkloadError, partition
from partitioner.plan.plan import Plan

EIGHTH = SparF.ratio(8)


def _sparsities(plan: Plan) -> list[SparF | None]:
    return [op.attention.sparsity for op in plan.ops("decode") if op.attention]


def test_every_attention_on_drives_is_sparse() -> None:
    plan = partition(load_pretrained("tiny"), "demo", Workload(2, 200, 24, EIGHTH), "instinfer")
    assert set(_sparsities(plan)) == {EIGHTH}


def test_layers_may_differ() -> None:
    count = len(_sparsities(partition(load_pretrained("tiny"), "demo", Workload(2, 200, 24), "instinfer")))
    layers = (None, *[EIGHTH] * (count - 1))
    plan = partition(load_pretrained("tiny"), "demo", Workload(2, 200, 24, layers), "instinfer")
    assert tuple(_sparsities(plan)) == layers
    caches = [plan.costing.drive_cache(op.attention) for op in plan.ops("decode") if op.attention]
    exact, sparse = caches[:2]
    assert exact.copies == 1.0
    assert sparse.copies == 1.5


@pytest.mark.parametrize("policy", ["gpu-only", "flexgen-ssd"])
def test_what_drives_do_not_attend_to_is_exact(policy: str) -> None:
    plan = partition(load_pretrained("tiny"), "demo", Workload(2, 200, 24, EIGHTH), policy)
    assert set(_sparsities(plan)) == {None}
    exact = partition(load_pretrained("tiny"), "demo", Workload(2, 200, 24), policy)
    assert plan.tokens_per_second == exact.tokens_per_second
    assert plan.resident_bytes() == exact.resident_bytes()


def test_a_wrong_number_of_layers_is_refused() -> None:
    with pytest.raises(
        WorkloadError, match=r"lists 99 layers, the model has \d+ attentions; give one SparF or None"
    ):
        partition(load_pretrained("tiny"), "demo", Workload(2, 200, 24, (EIGHTH,) * 99))
