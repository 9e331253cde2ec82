"""Copies to a real device: two under way at most, and those that were used up are not waited for."""

import jax
from jax import numpy as jnp

from cost_models import HardwareSpec
from runtime.devices.processor import COPIES_UNDER_WAY, Processor
from runtime.event_log import EventLog
from runtime.pace import WallPace


class CountingPace(WallPace):
    """Notes what is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.settled: list[float] = []

    def settle(self, values: jax.Array) -> None:
        super().settle(values)
        self.settled.append(float(values))


def test_a_copy_is_waited_for_once_two_more_have_begun() -> None:
    pace = CountingPace()
    gpu = HardwareSpec.load("h200-csd4").compute("gpu0")
    processor = Processor("gpu0", gpu, jax.devices()[0], pace, EventLog())
    for number in range(4):
        processor.arrive({"w": jnp.float32(number)})
    assert pace.settled == [0.0, 1.0]
    assert COPIES_UNDER_WAY == 2


def test_a_copy_that_was_given_away_is_not_waited_for() -> None:
    pace = CountingPace()
    gpu = HardwareSpec.load("h200-csd4").compute("gpu0")
    processor = Processor("gpu0", gpu, jax.devices()[0], pace, EventLog())
    given = jnp.float32(7)
    processor.arrive([given])
    given.delete()
    processor.arrive([jnp.float32(8)])
    processor.arrive([jnp.float32(9)])
    processor.arrive([jnp.float32(10)])
    assert pace.settled == [8.0]
