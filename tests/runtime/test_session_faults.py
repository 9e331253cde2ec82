"""Sessions on drives that fail: harmless faults leave the tokens as they are, others say what is lost."""

from typing import Any

import pytest

from cost_models import FaultSpec
from partitioner import partition
from runtime import Session, SessionError
from runtime.csd import DriveTimeout, MediaError
from tests.runtime.tiny_models import PROMPTS, WORKLOAD, demo_hardware, transformer


def session(faults: FaultSpec | None, num_drives: int = 1, drive: str | None = None) -> Session:
    """Returns a session with every attention on drives of small pages, on the virtual clock."""
    model = transformer("float16")
    hw = demo_hardware(num_drives).replace("drive.flash.page_bytes", 128)
    return Session(
        partition(model, hw.with_faults(faults, drive), WORKLOAD, "instinfer"), model, clock="virtual"
    )


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


def test_a_lost_page_names_drive_and_tokens() -> None:
    with pytest.raises(
        SessionError, match=r"MediaError: csd1: .* loses layer \d+, sequence \d+, tokens"
    ) as caught:
        generate(session(FaultSpec(uncorrectable_per_page_read=0.05), num_drives=2, drive="csd1"))
    cause = caught.value.__cause__
    assert isinstance(cause, MediaError)
    assert cause.drive == "csd1"
    assert all(0 <= lost.first_token < lost.last_token for lost in cause.lost)


def test_a_drive_that_stops_times_out_by_the_clock() -> None:
    opened = session(FaultSpec(stop_after_commands=12), num_drives=2, drive="csd0")
    before_s = opened._system.pace.clock.now_s()
    with pytest.raises(SessionError, match=r"DriveTimeout: csd0: .* got no answer within 30 s") as caught:
        generate(opened)
    cause = caught.value.__cause__
    assert isinstance(cause, DriveTimeout)
    assert cause.drive == "csd0"
    assert opened._system.pace.clock.now_s() - before_s >= 30.0
