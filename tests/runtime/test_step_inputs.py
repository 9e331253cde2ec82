"""What a decode step is told is made on the device: as the host would make it, and without a copy from there."""

import jax
import numpy as np
import pytest

from cost_models import HardwareSpec
from partitioner import partition
from runtime.devices.processor import Processor
from runtime.event_log import EventLog
from runtime.index_inputs import index_values
from runtime.pace import VirtualPace
from runtime.program import Program
from runtime.step_inputs import StepInputs
from tests.runtime.tiny_models import WORKLOAD, counting_decoder, transformer


@pytest.fixture(scope="module")
def program() -> Program:
    plan = partition(transformer(), "a6000-csd", WORKLOAD, "instinfer")
    return Program(plan, plan.decode)


def test_the_device_makes_what_the_host_would(program: Program) -> None:
    processor = CountedProcessor()
    inputs = StepInputs(program, processor)
    inputs.compile()
    before, tokens = np.array([3, 0, 7, 12], np.int32), np.array([5, 1, 2, 9], np.int32)
    for _ in range(3):
        told = inputs.tell(0, tokens, before)
        expected = index_values(program.phase.graph.phase, tokens[:, None], before, before + 1, {})
        assert set(told.index) == set(program.index_vars["gpu0"])
        for var, value in told.index.items():
            np.testing.assert_array_equal(value, expected[var])
            assert value.dtype == expected[var].dtype
        np.testing.assert_array_equal(told.before, before)
        before = before + 1
    assert processor.placed == 1


def test_lengths_are_copied_again_where_a_row_has_begun_anew(program: Program) -> None:
    processor = CountedProcessor()
    inputs = StepInputs(program, processor)
    inputs.compile()
    tokens = np.zeros(4, np.int32)
    inputs.tell(0, tokens, np.array([3, 4, 5, 6], np.int32))
    told = inputs.tell(0, tokens, np.array([4, 0, 6, 7], np.int32))
    np.testing.assert_array_equal(told.before, [4, 0, 6, 7])
    inputs.tell(1, tokens, np.array([5, 1, 7, 8], np.int32))
    assert processor.placed == 3


def test_models_that_count_themselves_are_told_by_the_host(program: Program) -> None:
    assert StepInputs.serves(program)
    counting = partition(counting_decoder(), "a6000-csd", WORKLOAD, "instinfer")
    assert not StepInputs.serves(Program(counting, counting.decode))


class CountedProcessor(Processor):
    """Counts the copies to it."""

    def __init__(self) -> None:
        spec = HardwareSpec.load("a6000-csd").gpus[0]
        super().__init__("gpu0", spec, jax.devices()[0], VirtualPace(), EventLog())
        self.placed = 0

    def place(self, value: object) -> object:
        self.placed += 1
        return super().place(value)
