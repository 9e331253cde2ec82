"""HiGHS, the solver of linear and integer programs: kept off the standard output, and asked again where it may err.

HiGHS writes some messages whatever its options say. Where sums come close to each other its presolve may refuse a result of
its own ("solve error") or rule out programs that have a solution; so either answer counts only if it comes without presolve,
or where a small part of the objective does not matter.
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, OptimizeWarning, linprog, milp
from scipy.sparse import block_array, csr_array, eye_array

MAX_GAP = 1e-10
"""Relative gap between objective and bound at which the search ends."""
MAX_NODES = 20_000
"""Nodes of a search tree; at the limit the gap is told, and the same input still gives the same result."""
LARGEST = 1e14
"""HiGHS refuses larger numbers in a matrix, with the status of a program that has no solution."""
ROUNDED = 1e-6
"""Relative amount by which the optimum of a linear program may be wrong."""
OPTIMAL, LIMIT, INFEASIBLE = 0, 1, 2
"""What ``status`` says of a result; anything else is a failure."""
FEW_HEURISTICS = {
    f"mip_heuristic_run_{name}": False for name in ("feasibility_jump", "root_reduced_cost", "rins")
}
"""Of the heuristics with programs within the program one is left: the relaxations of counts are nearly whole, and the others
take most of the time."""

Part = NDArray[np.float64] | csr_array | None
Rows = tuple[Sequence[Part], ArrayLike, ArrayLike]

_one_at_a_time = threading.Lock()


class SolverError(RuntimeError):
    """Says that the linear or integer solver failed on a problem that has a solution."""


def linear_program(
    cost: NDArray[np.float64],
    at_most: tuple[NDArray[np.float64], NDArray[np.float64]],
    equal: tuple[csr_array, NDArray[np.float64]],
    bounds: NDArray[np.float64],
) -> OptimizeResult:
    """Minimises a cost; ``at_most`` and ``equal`` are (matrix, right side), ``bounds`` [variables, 2]."""
    return _ask(
        lambda presolve: linprog(
            cost, *at_most, *equal, bounds=bounds, method="highs", options={"presolve": presolve}
        )
    )


def integer_program(
    cost: NDArray[np.float64],
    integral: NDArray[np.float64],
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    rows: Sequence[Rows],
    gap: float = MAX_GAP,
    *,
    doubt: bool = True,
    max_nodes: int = MAX_NODES,
    heuristics: bool = False,
    sums: Part = None,
) -> OptimizeResult:
    """Minimises a cost over whole numbers (where ``integral`` is 1) to a relative gap or ``max_nodes``.

    Args:
        cost: What a variable costs.
        integral: Which variables must be whole numbers.
        bounds: The least and the largest value of each variable.
        rows: Each with a part for each group of variables, and the least and the most it may add up to.
        gap: The relative gap.
        doubt: Whether to ask once more, without presolve, where presolve finds that there is no solution.
        max_nodes: Nodes of the search tree at which the search ends.
        heuristics: Whether to look for solutions with programs within the program, too.
        sums: [S variables] whole numbers; what they add up to is branched on and cut off, too. Nothing is simplified
            beforehand then, since that would take the sums out again.
    """
    parts = [[None if part is None else csr_array(part) for part in row] for row, _, _ in rows]
    matrix = csr_array(block_array(parts))
    largest = float(np.abs(matrix.data).max(initial=0.0))
    if largest > LARGEST:
        raise SolverError(f"the numbers of an integer program may be at most {LARGEST:g}, got {largest:g}")
    heights = [max(part.shape[0] for part in row if part is not None) for row in parts]  # pyright: ignore[reportOptionalSubscript]
    low = [np.broadcast_to(side, height) for (_, side, _), height in zip(rows, heights, strict=True)]
    high = [np.broadcast_to(side, height) for (_, _, side), height in zip(rows, heights, strict=True)]
    between = (np.concatenate(low), np.concatenate(high))
    options: dict[str, object] = {"mip_rel_gap": gap, "node_limit": max_nodes}
    if not heuristics:
        options |= FEW_HEURISTICS
    believed = (OPTIMAL, LIMIT) if doubt else (OPTIMAL, LIMIT, INFEASIBLE)
    adds = csr_array((0, len(cost)) if sums is None else sums)
    height = len(adds.indptr) - 1
    if not height:
        solve = partial(_solve, cost, integral, bounds, matrix, between, options)
        return _ask(lambda presolve: solve(presolve=presolve), believed)
    none = np.zeros(height)
    with silenced():
        least, most = _reach(adds, bounds, matrix, between)
        result = _solve(
            np.concatenate([cost, none]),
            np.concatenate([integral, none + 1.0]),
            (np.concatenate([bounds[0], least]), np.concatenate([bounds[1], most])),
            csr_array(block_array([[matrix, None], [adds, -eye_array(height)]])),
            (np.concatenate([between[0], none]), np.concatenate([between[1], none])),
            options,
            presolve=False,
        )
    if result.x is not None:
        result.x = result.x[: len(cost)]
    return result


def _solve(
    cost: NDArray[np.float64],
    integral: NDArray[np.float64],
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    matrix: csr_array,
    between: tuple[NDArray[np.float64], NDArray[np.float64]],
    options: dict[str, object],
    *,
    presolve: bool,
) -> OptimizeResult:
    """Returns what HiGHS makes of an integer program."""
    return _at_limit(
        milp(
            cost,
            integrality=integral,
            bounds=Bounds(*bounds),  # pyright: ignore[reportArgumentType]
            constraints=LinearConstraint(matrix, *between),  # pyright: ignore[reportArgumentType]
            options=options | {"presolve": presolve},
        )
    )


def _reach(
    adds: csr_array,
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    matrix: csr_array,
    between: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the least and the most that sums add up to if parts of things are allowed, rounded to whole numbers.

    HiGHS carries bounds from row to row until none moves. From sums without bounds that goes down in steps of one, for minutes;
    from these it ends at once, and they take milliseconds.
    """
    height = len(adds.indptr) - 1
    within = (np.zeros(height), np.full(height, np.inf))
    if adds.data.min(initial=0.0) < 0 or bounds[0].min(initial=0.0) < 0:
        within[0][:] = -np.inf
    solve = partial(_solve, integral=np.zeros(len(bounds[0])), bounds=bounds, matrix=matrix, between=between)
    for number, row in enumerate(adds.toarray()):
        for side, sign in zip(within, (1.0, -1.0), strict=True):
            result = solve(sign * row, options={}, presolve=True) if np.isinf(side[number]) else None
            if result is not None and result.status == OPTIMAL:
                outwards = result.fun - ROUNDED * max(1.0, abs(result.fun))
                side[number] = sign * np.ceil(outwards)
    return within


def _ask(
    solve: Callable[[bool], OptimizeResult], believed: Sequence[int] = (OPTIMAL, LIMIT)
) -> OptimizeResult:
    """Returns a result with presolve, or the one without where that has a status that is not believed."""
    with silenced():
        result = _at_limit(solve(True))
        return result if result.status in believed else _at_limit(solve(False))


def _at_limit(result: OptimizeResult) -> OptimizeResult:
    """Returns a result that says so where a search tree came to its limit of nodes, for which scipy has no status."""
    if result.status not in (OPTIMAL, LIMIT, INFEASIBLE) and "limit reached" in result.get("message", ""):
        result.status = LIMIT
    return result


@contextmanager
def silenced() -> Iterator[None]:
    """Discards what is written to file descriptor 1 meanwhile, also at C level."""
    with _one_at_a_time:
        _flush_c()
        kept, null = os.dup(1), os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # scipy says that it passes options on
                warnings.simplefilter(
                    "ignore", OptimizeWarning
                )  # and older ones that they have none of these
                yield
        finally:
            _flush_c()
            os.dup2(kept, 1)
            os.close(kept)


def _flush_c() -> None:
    """Empties the buffers of the C library, so that their text goes where it was meant to."""
    if os.name == "posix":
        ctypes.CDLL(None).fflush(None)
