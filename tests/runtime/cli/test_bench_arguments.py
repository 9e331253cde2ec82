"""What cannot be benchmarked."""

from typing import Any

import pytest

from models import abstract
from partitioner import Workload, partition
from runtime.bench_errors import BenchError
from runtime.benchmark import bench


@pytest.fixture(scope="module")
def plan() -> Any:
    return partition(abstract("tiny"), "demo", Workload(1, 8, 2), "gpu-only")


def test_no_plan_is_refused() -> None:
    with pytest.raises(BenchError, match=r"bench needs at least one plan; partition\("):
        bench([], None, ["x"], max_new_tokens=2)


def test_no_prompt_is_refused(plan: Any) -> None:
    with pytest.raises(BenchError, match="a list of at least one prompt"):
        bench([plan], None, [], max_new_tokens=2)


def test_a_single_text_is_refused(plan: Any) -> None:
    with pytest.raises(BenchError, match="a list of at least one prompt"):
        bench([plan], None, "a text", max_new_tokens=2)


def test_no_run_is_refused(plan: Any) -> None:
    with pytest.raises(BenchError, match="repeats must be at least 1, got 0"):
        bench([plan], None, ["x"], max_new_tokens=2, repeats=0)


def test_plans_for_two_systems_are_refused(plan: Any) -> None:
    other = partition(abstract("tiny"), "a6000-csd", Workload(1, 8, 2), "gpu-only")
    with pytest.raises(BenchError, match="tiny on a6000-csd beside tiny on demo"):
        bench([plan, other], None, ["x"], max_new_tokens=2)
