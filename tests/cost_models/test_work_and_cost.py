import math

import pytest

from cost_models import BOUNDS, Cost, CostModelError, Work, WorkError, sequential, slowest
from cost_models.cost import with_overhead


def test_works_add_and_multiply():
    assert Work(1.0, 2.0, 3.0) + Work(10.0, 20.0, 30.0) == Work(11.0, 22.0, 33.0)
    assert Work(1.0, 2.0, 3.0) * 40 == 40 * Work(1.0, 2.0, 3.0) == Work(40.0, 80.0, 120.0)


def test_arithmetic_intensity():
    assert Work(12.0, 2.0, 4.0).arithmetic_intensity == 2.0
    assert Work(0.0, 2.0, 4.0).arithmetic_intensity == 0.0
    assert Work(1.0, 0.0, 0.0).arithmetic_intensity == math.inf
    assert Work().arithmetic_intensity == 0.0


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("field", ["flops", "bytes_read", "bytes_written"])
def test_work_rejects(field, value):
    with pytest.raises(WorkError, match=f"{field} = .* at least 0"):
        Work(**{field: value})


def test_slowest_keeps_the_bound_of_the_larger():
    assert slowest([Cost(1.0, "link"), Cost(2.0, "flash"), Cost(0.5, "compute")]) == Cost(2.0, "flash")
    with pytest.raises(CostModelError, match="slowest of no costs"):
        slowest([])


def test_sequential_adds_and_keeps_the_bound_that_takes_most():
    parts = [Cost(2.0, "link"), Cost(1.5, "memory"), Cost(1.5, "memory")]
    assert sequential(parts) == Cost(5.0, "memory")
    assert sequential([]) == Cost(0.0, "overhead")


@pytest.mark.parametrize("overhead_s", [0.0, 0.5, 2.0, 3.0])
def test_an_overhead_is_one_more_part(overhead_s: float):
    parts = (Cost(2.0, "memory"), Cost(overhead_s, "overhead"))
    assert with_overhead(2.0, "memory", overhead_s) == sequential(parts)


def test_cost_rejects():
    with pytest.raises(CostModelError, match="seconds = -1"):
        Cost(-1.0, "link")
    with pytest.raises(CostModelError, match=r"bound = 'magic' .* compute, memory, link, flash, overhead"):
        Cost(1.0, "magic")  # type: ignore[arg-type]
    assert Cost(1.0, "link") * 3 == Cost(3.0, "link")
    assert len(BOUNDS) == 5
