"""A team of threads that share the parts of one compiled function, without the interpreter.

Threads wait in compiled code, so none needs the interpreter's lock to begin; they sleep while there is nothing to do. Parts are
taken one by one, by whoever is free, the caller first: little work is done before the others are awake, and a core that
is busy with something else takes fewer parts. numba's own parallel loops cut work beforehand, have one thread layer for the
whole process, and that layer spins after a loop (OpenMP), must not be entered by two threads at once (workqueue) or is not
installed by default (TBB).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from runtime.kernels.compiling import SOURCE_DIGEST, entry_point, inner
from runtime.kernels.packed_call import call_part
from runtime.kernels.pthreads import (
    SLOT_BYTES,
    lock,
    make_condition,
    make_mutex,
    unlock,
    wait,
    wake_all,
    wake_one,
)

# Where things lie in a team, an array of int64: numbers first, then the slots of the C library.
_WORKERS = 0
"""Threads beside the caller."""
_NEXT = 1
"""The first part that nobody has taken."""
_PARTS = 2
_UNFINISHED = 3
_FAILED = 4
_CALL = 5
_ARGUMENTS = 6
_SLOT = SLOT_BYTES // 8
_STATE, _CALLER, _BEGUN, _ENDED = _SLOT, 2 * _SLOT, 3 * _SLOT, 4 * _SLOT
"""Mutex of the numbers; mutex of the caller, one at a time; conditions that there are parts, and that none is left."""

ALONE = np.zeros(5 * _SLOT, np.int64)
"""A team of nobody, for what has one part."""


def _build_serve(digest: int) -> Callable[..., None]:
    """Returns what a thread of a team does, bound to its source; see :func:`runtime.kernels.compiling.entry_point`."""

    def serve(team: np.ndarray) -> None:
        """Takes parts for ever."""
        _ = digest
        state, begun = _address(team, _STATE), _address(team, _BEGUN)
        lock(state)
        while True:
            while team[_NEXT] >= team[_PARTS]:
                wait(begun, state)
            _take_part(team)

    return serve


def _build_found(digest: int) -> Callable[..., None]:
    """Returns what makes a team, bound to its source; see :func:`runtime.kernels.compiling.entry_point`."""

    def found(team: np.ndarray, num_workers: int) -> None:
        """Makes a team of zeros, ``[len(ALONE)]``, ready for its threads."""
        _ = digest
        make_mutex(_address(team, _STATE), 0)
        make_mutex(_address(team, _CALLER), 0)
        make_condition(_address(team, _BEGUN), 0)
        make_condition(_address(team, _ENDED), 0)
        team[_WORKERS] = num_workers

    return found


@inner
def _address(team: np.ndarray, index: int) -> int:
    """Returns where an element of a team lies."""
    start: Any = np.int64(team.ctypes.data)  # signed, as sums of it are to be
    return start + index * 8


@inner
def _take_part(team: np.ndarray) -> None:
    """Runs the next part; the numbers' mutex is held before and after, and given back meanwhile."""
    part, call, arguments = team[_NEXT], team[_CALL], team[_ARGUMENTS]
    team[_NEXT] += 1
    unlock(_address(team, _STATE))
    failed = call_part(call, arguments, part)
    lock(_address(team, _STATE))
    if failed:
        team[_FAILED] += 1
    team[_UNFINISHED] -= 1
    if team[_UNFINISHED] == 0:
        wake_one(_address(team, _ENDED))


@inner
def share_parts(team: np.ndarray, num_parts: int, call: int, arguments: int) -> None:
    """Runs parts 0 to ``num_parts - 1`` and returns when all are done; a single part is run without the team.

    Args:
        team: The team; its callers wait for one another.
        num_parts: How many parts there are.
        call: From :func:`runtime.kernels.packed_call.call_of`.
        arguments: From :func:`runtime.kernels.packed_call.address_of`.

    Raises:
        MemoryError: A part failed, which is when it gets no memory to work in.
    """
    if num_parts == 1:
        failed = np.int64(call_part(call, arguments, 0))
    else:
        state, caller = _address(team, _STATE), _address(team, _CALLER)
        begun, ended = _address(team, _BEGUN), _address(team, _ENDED)
        lock(caller)
        lock(state)
        team[_CALL], team[_ARGUMENTS] = call, arguments
        team[_NEXT], team[_PARTS], team[_UNFINISHED], team[_FAILED] = 0, num_parts, num_parts, 0
        if num_parts > team[_WORKERS]:
            wake_all(begun)
        else:
            for _ in range(num_parts - 1):
                wake_one(begun)
        while team[_NEXT] < num_parts:
            _take_part(team)
        while team[_UNFINISHED] > 0:
            wait(ended, state)
        failed = team[_FAILED]
        unlock(state)
        unlock(caller)
    if failed > 0:
        raise MemoryError(
            "a compiled kernel found no memory to work in; free some, or attend to fewer tokens at a time"
        )


serve: Any = entry_point(_build_serve(SOURCE_DIGEST))
"""Serves a team in the thread that calls it, and never returns; releases the interpreter lock."""
found: Any = entry_point(_build_found(SOURCE_DIGEST))
"""Makes a team of an array of zeros."""
