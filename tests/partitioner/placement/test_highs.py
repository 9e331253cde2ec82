"""What is made of HiGHS: silent, and asked again."""

from __future__ import annotations

import ctypes
import itertools
import os
import threading
from typing import Any

import numpy as np
import pytest
from scipy.optimize import Bounds, OptimizeResult, linprog

from partitioner.placement import highs
from partitioner.placement.highs import INFEASIBLE, OPTIMAL, SolverError, integer_program, silenced

posix = pytest.mark.skipif(os.name != "posix", reason="the C library is found by another name")
ONE = np.ones(1)


def smallest_above(number: float, size: float = 1.0) -> OptimizeResult:
    """Returns the least whole x with ``size * x >= number``."""
    return integer_program(ONE, ONE, (0 * ONE, 100 * ONE), [([np.array([[size]])], number, np.inf)])


@posix
def test_what_c_code_prints_is_discarded_and_all_else_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    library = ctypes.CDLL(None)
    library.printf(b"before ")
    with silenced():
        library.printf(b"meanwhile")
        os.write(1, b"meanwhile")
    library.printf(b"after")
    library.fflush(None)
    assert capfd.readouterr().out == "before after"


def test_the_output_comes_back_after_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="inside"), silenced():
        raise ValueError("inside")
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"


def test_threads_do_not_take_the_output_from_each_other(capfd: pytest.CaptureFixture[str]) -> None:
    threads = [threading.Thread(target=smallest_above, args=(2.5,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(1, b"after")
    assert capfd.readouterr().out == "after"


def test_no_descriptor_is_left_open() -> None:
    smallest_above(2.5)
    before = os.dup(1)
    os.close(before)
    for _ in range(5):
        smallest_above(2.5)
    after = os.dup(1)
    os.close(after)
    assert after == before


def test_programs_are_solved() -> None:
    result = smallest_above(2.5)
    assert result.status == OPTIMAL
    assert result.x == pytest.approx([3.0])
    assert smallest_above(200.0).status == INFEASIBLE


@pytest.mark.parametrize("status", [INFEASIBLE, 4])
def test_no_solution_counts_only_without_presolve(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = highs.milp, []

    def doubtful(*args: Any, options: dict[str, Any], **others: Any) -> OptimizeResult:
        asked.append(options["presolve"])
        return (
            OptimizeResult(status=status, x=None)
            if options["presolve"]
            else real(*args, options=options, **others)
        )

    monkeypatch.setattr(highs, "milp", doubtful)
    assert smallest_above(2.5).x == pytest.approx([3.0])
    assert asked == [True, False]


def test_numbers_that_highs_would_refuse_are_refused_before() -> None:
    with pytest.raises(SolverError, match=r"may be at most 1e\+14, got 1e\+15"):
        smallest_above(2.5, size=1e15)


@pytest.mark.parametrize("seed", range(20))
def test_sums_that_are_branched_on_begin_with_what_they_can_be(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bounds leave all solutions in, and are those of the best mixture; without any they would be infinite."""
    draw = np.random.default_rng(seed)
    size, most = 4, 3
    sums = draw.integers(0, 4, (3, size)).astype(float)
    if seed % 2:
        sums[0] *= -1.0
    sums[:, 0] += 1.0
    rows = draw.integers(0, 5, (2, size)).astype(float)
    limit = draw.integers(4, 20, 2).astype(float)
    every = np.array(list(itertools.product(range(most + 1), repeat=size)), float)
    fits = every[(every @ rows.T <= limit).all(axis=1)]
    cost = -draw.random(size)
    boxes: list[tuple[Any, Any]] = []
    real = highs.milp

    def watched(*args: Any, bounds: Bounds, **others: Any) -> OptimizeResult:
        boxes.append((bounds.lb, bounds.ub))
        return real(*args, bounds=bounds, **others)

    monkeypatch.setattr(highs, "milp", watched)
    bounds = (np.zeros(size), np.full(size, float(most)))
    result = integer_program(cost, np.ones(size), bounds, [([rows], -np.inf, limit)], sums=sums)
    assert result.fun == pytest.approx((fits @ cost).min())
    least, most_of = (side[size:] for side in boxes[-1])
    totals = fits @ sums.T
    assert (least <= totals.min(axis=0)).all()
    assert (most_of >= totals.max(axis=0)).all()
    assert np.isfinite(least).all()
    for row, upper in zip(sums, most_of, strict=True):
        mixture = linprog(-row, rows, limit, bounds=(0, most))
        assert upper == np.floor(-mixture.fun + 1e-6)
