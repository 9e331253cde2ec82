"""The benchmark of emulated drives: what its cases are planned for, and what a line says."""

from benchmarks.emulated_drives import CASES, THROTTLE, Case, line_of
from benchmarks.policy_runs import PolicyRun
from cost_models import HardwareSpec

RUN = PolicyRun((2e-3, 3e-3, 4e-3), (1.0,), 2.5e-3, 1.0, {}, ((1, 2), (3, 4)))


def test_throttled_drives_have_a_share_of_their_rate_and_the_gpu_little_memory() -> None:
    hw = HardwareSpec.load("h200-csd4")
    plain = Case("instinfer", throttled=False, batch=16, new=9)
    throttled = Case("instinfer", throttled=True, batch=16, new=9).hardware(hw, 4.5e9)
    assert plain.hardware(hw, 4.5e9) == hw
    assert throttled.drives[0].flash.channel_bytes_per_s * THROTTLE == hw.drives[0].flash.channel_bytes_per_s
    assert throttled.gpus[0].memory_bytes == 4.5e9


def test_all_that_is_asked_of_a_machine_is_in_one_table() -> None:
    found = {(case.policy, case.throttled, case.batch, case.new) for case in CASES}
    assert found == {
        ("instinfer", False, 16, 9),
        ("instinfer", False, 64, 9),
        ("instinfer", True, 16, 9),
        ("auto", True, 16, 9),
        ("auto", True, 16, 17),
    }


def test_a_line_has_the_median_and_its_ratio_to_the_prediction() -> None:
    assert RUN.ratio == 1.2
    assert RUN.equal_rows([[1, 2], [3, 5]]) == 1
    line = line_of(CASES[2], RUN, 1).split()
    assert line == ["instinfer,", "throttled", "16", "9", "2.50", "3.00", "66.7%", "1.200", "1", "of", "16"]
