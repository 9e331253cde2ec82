"""Drives take turns at checking commands, and none keeps another from computing."""

import numpy as np
import pytest

import runtime.csd.execute_attend as execution
from runtime.csd import Attend, Configure, Drive, DriveError, Write
from runtime.csd.attention import attend_stored
from runtime.csd.turns import PREPARING
from tests.runtime.csd.drives import SPEC

ROWS, HEADS, TOKENS, SIZE = 1, 2, 4, 8


@pytest.fixture
def drive() -> Drive:
    found = Drive(SPEC)
    found.execute(Configure(1, HEADS, HEADS, SIZE, np.dtype(np.float32), ROWS, 16), 0.0)
    pair = np.ones((2, ROWS, HEADS, TOKENS, SIZE), np.float32)
    found.execute(Write(0, *pair, np.zeros(ROWS, np.int64)), 0.0)
    return found


def command(tokens: int) -> Attend:
    return Attend(0, np.ones((ROWS, HEADS, SIZE), np.float32), None, None, np.full(ROWS, tokens), 1.0)


def test_a_kernel_runs_beside_the_checks_of_other_drives(
    drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    check = execution.check_layer

    def checks(*arguments: object) -> None:
        held.append(PREPARING.locked())
        check(*arguments)

    def attends(*arguments: object) -> object:
        held.append(PREPARING.locked())
        return attend_stored(*arguments)

    monkeypatch.setattr(execution, "check_layer", checks)
    monkeypatch.setattr(execution, "attend_stored", attends)
    drive.execute(command(TOKENS), 0.0)
    assert held == [True, False]


def test_a_command_that_is_refused_ends_its_turn(drive: Drive) -> None:
    with pytest.raises(DriveError, match=r"attend to 5 tokens of sequence 0, layer 0, which has 4"):
        drive.execute(command(TOKENS + 1), 0.0)
    assert not PREPARING.locked()
    assert drive.execute(command(TOKENS), 0.0).value.shape == (ROWS, HEADS, SIZE)
