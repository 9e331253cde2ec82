"""Parts that need the interpreter."""

import threading

import pytest

from runtime.core_threads import run_parts


def test_every_part_runs_once() -> None:
    done: list[int] = []
    run_parts(done.append, 5)
    assert sorted(done) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("failing", [0, 1])
def test_no_part_goes_on_behind_one_that_fails(failing: int) -> None:
    """What parts work on may be gone once the error is out."""
    failed, done = threading.Event(), list[int]()

    def run(part: int) -> None:
        if part == failing:
            failed.set()
            raise ValueError(part)
        failed.wait(10.0)
        done.append(part)

    with pytest.raises(ValueError, match=str(failing)):
        run_parts(run, 2)
    assert done == [1 - failing]
