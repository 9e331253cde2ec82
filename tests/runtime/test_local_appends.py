"""A token whose cache is on the device that made it is appended there, and nobody waits for either."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from partitioner.plan.steps import Move
from runtime.cache_moves import CacheMoves

KEY, VALUE = "new key", "new value"


class Witness:
    """Stands for processors, links, caches and the frame, and notes what is waited for."""

    def __init__(self) -> None:
        self.waited: list[str] = []
        self.settled: list[Any] = []
        self.appended: list[Any] = []

    def wait_for(self, values: Any, ready_s: float) -> float:
        self.waited.append("values")
        return ready_s + 1.0

    def append(self, micro_batch: int, attention: Any, pair: Any, lengths: Any) -> str:
        self.appended.append(pair)
        return "caches"

    def begin(self, frame: Any, step: Move, ready_s: float) -> Any:
        return SimpleNamespace(end_s=ready_s)

    def end(self, transfer: Any, arrived: Any) -> float:
        self.settled.append(arrived)
        return transfer.end_s

    def read(self, device: str, var: str) -> str:
        return f"{var} of {device}"


@pytest.mark.parametrize(("home", "waits"), [("gpu0", False), ("host", True)])
def test_nobody_waits_for_an_append_on_the_device_that_made_the_token(home: str, waits: bool) -> None:
    seen = Witness()
    attention = SimpleNamespace(source=None, new_key=KEY, new_value=VALUE)
    program: Any = SimpleNamespace(attention={"attention": attention}, name="decode")
    system: Any = SimpleNamespace(processors={"gpu0": seen, "host": seen}, drives={}, states=seen)
    moves = CacheMoves(program, system, SimpleNamespace(), seen)  # pyright: ignore[reportArgumentType]
    frame: Any = SimpleNamespace(read=seen.read, micro_batch=0, before=np.zeros(2, np.int32))
    step: Any = SimpleNamespace(src="gpu0", dst=home, attention="attention", values=(KEY, VALUE))
    end_s = moves.append(frame, step, 2.0)
    assert seen.appended == [(f"{KEY} of gpu0", f"{VALUE} of gpu0")]
    assert (seen.waited, seen.settled, end_s) == ((["values"], ["caches"], 3.0) if waits else ([], [()], 2.0))
