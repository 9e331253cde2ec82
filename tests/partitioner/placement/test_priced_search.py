"""The search with columns made on demand: its bounds hold, and it ends where mixtures keep all sums of a problem whole."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from models import abstract
from partitioner import Workload, partition
from partitioner.placement.apart import apart_sums
from partitioner.placement.bounded_simplex import Ending
from partitioner.placement.column_program import ColumnProgram
from partitioner.placement.column_sums import ColumnSums
from partitioner.placement.exhaustive import exhaustive
from partitioner.placement.finer_sums import finer_sums
from partitioner.placement.priced_search import MAX_NODES
from partitioner.placement.problem import Solution
from partitioner.placement.wide_search import NEARLY, DemandSearch
from tests.partitioner.placement.problems import random_problem
from tests.partitioner.placement.relaxed import relaxed


def test_it_proves_the_best_of_small_problems() -> None:
    endings: Counter[str] = Counter()
    for seed in range(150):
        problem = random_problem(seed)
        oracle = exhaustive(problem)
        space, root, pool, _ = relaxed(problem)
        found = DemandSearch(space, root, pool, None, math.inf).found()
        if not isinstance(oracle, Solution):
            assert found.placed is None
            continue
        endings["fits"] += 1
        assert found.bound <= oracle.objective * (1 + 1e-9)
        if found.placed is not None:
            assert found.placed.value >= oracle.objective * (1 - 1e-9)
            assert found.within(NEARLY)
            endings["proven"] += 1
    assert endings["proven"] > 0.9 * endings["fits"], endings


def test_it_goes_on_where_it_was_left() -> None:
    """A few nodes prove a bound that holds; the rest of them, with a placement found meanwhile, proves that one."""
    open_at_first = 0
    for seed in range(150):
        problem = random_problem(seed)
        oracle = exhaustive(problem)
        space, root, pool, _ = relaxed(problem)
        whole = DemandSearch(space, root, pool, None, math.inf).found()
        if not isinstance(oracle, Solution) or whole.placed is None:
            continue
        search = DemandSearch(space, root, pool, None, math.inf)
        begun = search.found(((1, 1 / MAX_NODES),))
        assert begun.bound <= oracle.objective * (1 + 1e-9)
        open_at_first += not begun.within(NEARLY)
        ended = search.found(known=whole.placed)
        assert ended.placed is not None
        assert ended.placed.value <= whole.placed.value
        assert ended.bound >= begun.bound
        assert ended.within(NEARLY)
    assert open_at_first > 20


def test_a_basis_is_taken_up_behind_new_sums() -> None:
    """The program with more sums goes on where the one without them ended."""
    told, reached = 0, 0
    for seed in range(80):
        space, _, pool, _ = relaxed(random_problem(seed))
        folded = space.folded
        program = ColumnProgram.of(
            folded, space.goal, space.unit, ColumnSums.of(folded, space.sums), list(pool)
        )
        low, high = np.zeros(program.sums.size), np.full(program.sums.size, np.inf)
        vertex = program.program.firmly(*program.bounds(low, high), program.program.start)
        assert vertex.ending is Ending.OPTIMAL
        finer, apart = finer_sums(program, vertex), apart_sums(program, vertex)
        told, reached = told + bool(finer.size), reached + (apart is not None)
        for new in (finer, apart):
            if new is None or not new.size:
                continue
            more = program.with_sums(new)
            basis = more.taken_up(vertex.basis)
            assert basis.inverse is not None
            wide = np.hstack([-np.eye(more.num_rows), more.program.matrix])
            assert np.allclose(basis.inverse @ wide[:, basis.basic], np.eye(more.num_rows), atol=1e-7)
            bounds = more.bounds(
                np.pad(low, (0, new.size)), np.pad(high, (0, new.size), constant_values=np.inf)
            )
            again = more.program.solve(*bounds, basis, np.inf)
            assert again.ending is Ending.OPTIMAL
            assert again.bound == pytest.approx(vertex.bound, rel=1e-7, abs=1e-6)
            assert more.sums.number(new) is not None
    assert told > 10
    assert reached > 0


def test_new_sums_are_fractional_where_they_are_made() -> None:
    for seed in range(80):
        space, _, pool, _ = relaxed(random_problem(seed))
        program = ColumnProgram.of(
            space.folded, space.goal, space.unit, ColumnSums.none(space.folded), list(pool)
        )
        none = np.zeros(0)
        vertex = program.program.firmly(*program.bounds(none, none), program.program.start)
        finer = finer_sums(program, vertex)
        shares = program.shares(vertex)
        totals = finer.adds(space.folded, program.columns) @ shares
        assert (np.abs(totals - np.rint(totals)) > 1e-7).all()
        if not finer.size:
            counts = np.zeros(len(space.folded.kinds.together))
            for column, share in zip(program.columns, shares, strict=True):
                for of, pick in zip(space.folded.kinds.apart[column.stage], column.picks, strict=True):
                    counts[of[pick]] += share
            assert np.allclose(counts, np.rint(counts), atol=1e-5)


@pytest.mark.parametrize(
    ("model", "system", "batch", "context"),
    [
        ("opt-30b", "a6000-csd", 1, 4096),
        ("llama-2-7b", "smartssd-16", 1, 32768),
        ("opt-125m", "h200-csd4", 1, 1024),
    ],
)
def test_mixtures_that_keep_all_sums_whole_are_told_apart(
    model: str, system: str, batch: int, context: int
) -> None:
    """Thirds of a layer that keeps three alike weights on a tier, rounds that no walk reaches, and homes that have to agree."""
    plan = partition(
        abstract(model, max_position=context),
        system,
        Workload(batch, context // 2, context // 2),
        verify=False,
    )
    assert plan.gap <= NEARLY
