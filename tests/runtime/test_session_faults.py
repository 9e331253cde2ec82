"""Sessions on drives that fail: tokens stay the same, and the result says what that cost."""

from dataclasses import replace
from typing import Any

import pytest

from cost_models import FaultSpec
from partitioner import SparF, partition
from runtime import Session, SessionError
from runtime.csd import DriveError
from runtime.devices.csd import StorageDrive
from tests.runtime.tiny_models import PROMPTS, WORKLOAD, demo_hardware, transformer


def session(
    faults: FaultSpec | None,
    num_drives: int = 1,
    drive: str | None = None,
    sparsity: SparF | None = None,
) -> Session:
    """Returns a session with every attention on drives of small pages, on the virtual clock."""
    model = transformer("float16")
    hw = demo_hardware(num_drives).replace("drive.flash.page_bytes", 128)
    load = replace(WORKLOAD, sparsity=sparsity)
    return Session(partition(model, hw.with_faults(faults, drive), load, "instinfer"), model, clock="virtual")


def generate(opened: Session) -> Any:
    with opened:
        return opened.generate(PROMPTS, max_new_tokens=10)


def test_retries_and_failed_programs_cost_time_and_change_no_token() -> None:
    plain = generate(session(None))
    faults = FaultSpec(read_retries_mean=0.3, program_failure_per_page=0.05, worn_blocks=0.1)
    result = generate(session(faults))
    assert result.tokens == plain.tokens
    health = result.drive_health["csd0"]
    assert health.retries_per_page_read == pytest.approx(0.3, rel=0.2)
    assert health.program_failures > 0
    assert result.decode_s > plain.decode_s


def test_a_lost_page_is_recomputed_from_the_tokens() -> None:
    plain = generate(session(None, 2))
    result = generate(session(FaultSpec(uncorrectable_per_page_read=0.05), num_drives=2, drive="csd1"))
    assert result.tokens == plain.tokens
    assert result.recoveries
    for recovery in result.recoveries:
        assert recovery.drive == "csd1"
        assert recovery.fault.startswith("MediaError: csd1: ")
        assert not recovery.given_up
        assert 0 <= recovery.begin_s < recovery.resumed_s <= result.total_s
    assert result.total_s > plain.total_s
    assert str(result.recoveries[0]).endswith(f"and went on at {result.recoveries[0].resumed_s:.3g} s")


def test_a_drive_that_stops_is_left_out() -> None:
    plain = generate(session(None, 2))
    opened = session(FaultSpec(stop_after_commands=12), num_drives=2, drive="csd0")
    with opened:
        results = [opened.generate(PROMPTS, max_new_tokens=10) for _ in range(2)]
    assert [result.tokens for result in results] == [plain.tokens, plain.tokens]
    (recovery,) = results[0].recoveries
    assert recovery.drive == "csd0"
    assert recovery.given_up
    assert recovery.seconds == pytest.approx(30.0, abs=0.2)  # what a command may take
    assert "went on without it" in str(recovery)
    assert results[1].recoveries == ()
    assert set(results[1].drive_health) == {"csd1"}
    assert "csd0" not in results[1].timeline.busy_s()
    assert "csd1" in results[1].timeline.busy_s()


@pytest.mark.parametrize("stop_after_commands", range(1, 25, 3))
def test_the_last_drive_may_stop_at_any_command(stop_after_commands: int) -> None:
    told: list[tuple[int, int]] = []
    with session(FaultSpec(stop_after_commands=stop_after_commands)) as opened:
        result = opened.generate(
            PROMPTS, max_new_tokens=10, on_token=lambda row, token: told.append((row, token))
        )
    assert result.tokens == generate(session(None)).tokens
    assert [
        [token for row, token in told if row == number] for number in range(len(PROMPTS))
    ] == result.tokens
    assert result.drive_health == {}
    assert len(result.recoveries) == 1


def test_a_drive_that_never_answers_is_refused_at_once() -> None:
    with pytest.raises(
        SessionError, match=r"a drive cannot hold its caches: csd0: .* got no answer within 30 s"
    ):
        session(FaultSpec(stop_after_commands=0))


def test_a_flash_that_runs_full_is_left_out() -> None:
    faults = FaultSpec(uncorrectable_per_page_read=0.3, seed=2)
    plain = generate(session(None))
    opened = session(faults)
    with opened:
        results = [opened.generate(PROMPTS, max_new_tokens=10) for _ in range(3)]
    assert all(result.tokens == plain.tokens for result in results)


def test_sparse_attention_goes_on_with_the_same_tokens() -> None:
    plain = generate(session(None, 2, sparsity=SparF(4, 6)))
    exact = generate(session(None, 2))
    assert plain.tokens != exact.tokens  # else nothing is shown
    for faults in (FaultSpec(uncorrectable_per_page_read=0.1), FaultSpec(stop_after_commands=18)):
        result = generate(session(faults, 2, "csd1", SparF(4, 6)))
        assert result.tokens == plain.tokens
        assert result.recoveries


def test_other_failures_are_no_faults_of_a_drive(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> Any:
        raise DriveError("csd0: broken rule").of_drive("csd0")

    monkeypatch.setattr(StorageDrive, "attend", fail)
    with pytest.raises(SessionError, match="broken rule"):
        generate(session(None))


def test_a_fault_with_nothing_left_to_hold_the_caches_ends_the_generation() -> None:
    model = transformer("float16")
    hw = (
        demo_hardware(1).replace("drive.flash.page_bytes", 128).with_faults(FaultSpec(stop_after_commands=20))
    )
    plan = partition(model, hw, WORKLOAD, "instinfer")
    used = plan.resident_bytes()
    tight = hw.with_memory("gpu0", used["gpu0"]["weights"] + used["gpu0"]["reserve"]).with_memory("host", 0.0)
    plan = partition(model, tight, WORKLOAD, "instinfer")
    with pytest.raises(
        SessionError, match=r"nothing fits on what is left of .*: nothing fits under policy 'auto'"
    ):
        generate(Session(plan, model, clock="virtual"))
