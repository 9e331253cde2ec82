"""A team of threads that share the parts of a compiled function."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from numba import njit

from runtime.kernels.packed_call import address_of, call_of
from runtime.kernels.thread_team import ALONE, found, serve, share_parts


@njit
def _square(part: int, numbers: np.ndarray, factor: float, counts: tuple[np.ndarray, int]) -> None:
    if part == counts[1]:
        raise ValueError
    for _ in range(2000):  # long enough for others to wake up
        numbers[part] = factor * part * part
    counts[0][part] += 1


@njit(nogil=True)
def square(
    team: np.ndarray, num_parts: int, numbers: np.ndarray, factor: float, counts: tuple[np.ndarray, int]
) -> None:
    arguments = (numbers, factor, counts)
    share_parts(team, num_parts, call_of(_square, arguments), address_of(arguments))


@pytest.fixture(scope="module")
def teams() -> Callable[[int], np.ndarray]:
    """Returns a team of a number of threads beside the caller; it lasts as long as the process, as every team does."""
    made: dict[int, np.ndarray] = {}

    def team_of(num_workers: int) -> np.ndarray:
        if num_workers not in made:
            made[num_workers] = np.zeros_like(ALONE)
            found(made[num_workers], num_workers)
            for _ in range(num_workers):
                threading.Thread(target=serve, args=(made[num_workers],), daemon=True).start()
        return made[num_workers]

    return team_of


@pytest.mark.parametrize("num_workers", [0, 1, 3])
@pytest.mark.parametrize("num_parts", [1, 2, 3, 50])
def test_every_part_runs_once(teams: Callable[[int], np.ndarray], num_workers: int, num_parts: int) -> None:
    counts = np.zeros(num_parts, np.int64)
    for _ in range(20):
        numbers = np.zeros(num_parts)
        square(teams(num_workers), num_parts, numbers, 0.5, (counts, -1))
        np.testing.assert_array_equal(numbers, 0.5 * np.arange(num_parts) ** 2)
    np.testing.assert_array_equal(counts, 20)


def test_callers_take_turns(teams: Callable[[int], np.ndarray]) -> None:
    found_counts: list[np.ndarray] = []

    def call() -> None:
        counts = np.zeros(8, np.int64)
        for _ in range(100):
            square(teams(3), 8, np.zeros(8), 1.0, (counts, -1))
        found_counts.append(counts)

    callers = [threading.Thread(target=call) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(found_counts) == 4
    np.testing.assert_array_equal(found_counts, 100)


def test_threads_that_have_nothing_to_do_sleep(teams: Callable[[int], np.ndarray]) -> None:
    square(teams(3), 50, np.zeros(50), 1.0, (np.zeros(50, np.int64), -1))
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.1  # threads that spin would take 0.2 s each


@pytest.mark.parametrize("num_parts", [1, 2, 9])
def test_a_part_that_fails_is_an_error_and_the_team_goes_on(
    teams: Callable[[int], np.ndarray], num_parts: int
) -> None:
    counts = np.zeros(num_parts, np.int64)
    with pytest.raises(MemoryError, match="found no memory to work in; free some"):
        square(teams(1), num_parts, np.zeros(num_parts), 1.0, (counts, 0))
    np.testing.assert_array_equal(counts, np.arange(num_parts) > 0)
    square(teams(1), num_parts, np.zeros(num_parts), 1.0, (counts, -1))
    np.testing.assert_array_equal(counts, 1 + (np.arange(num_parts) > 0))


FORKED = """
import os
import numpy as np
from runtime import core_threads
from runtime.host_attention import attend_host
core_threads.num_cores = lambda: 3
rng = np.random.default_rng(0)
pair = rng.standard_normal((2, 2, 3, 64, 8)).astype(np.float32)
query, lengths = rng.standard_normal((2, 3, 8)), np.array([64, 50])
expected = attend_host(query, tuple(pair), lengths, 0.5, num_parts=3)
child = os.fork()
same = np.array_equal(attend_host(query, tuple(pair), lengths, 0.5, num_parts=3), expected)
if child == 0:
    os._exit(0 if same else 1)
print(same, os.waitpid(child, 0)[1])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert run.stdout.split() == ["True", "0"]
