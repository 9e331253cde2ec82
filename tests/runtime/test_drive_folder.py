"""A session whose drives keep their pages in a folder, and one whose drive does not answer."""

import dataclasses
import gc
import os
from pathlib import Path
from typing import Any

import pytest

from runtime import Session, SessionError
from runtime.csd import Attend, Drive
from tests.runtime.tiny_models import PROMPTS, WORKLOAD, plain_tokens, plan_for, transformer


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("clock", ["virtual", "wall"])
@pytest.mark.parametrize("policy", ["instinfer", "flexgen-ssd"])
def test_pages_in_a_folder_change_nothing_but_their_place(tmp_path: Path, policy: str, clock: Any) -> None:
    model = transformer()
    plan = plan_for(model, policy, 2)
    with Session(plan, model, clock=clock, drive_folder=tmp_path) as session:
        kept = [drive._drive._nand.arena.backing for drive in session._bench.pool._drives.values()]
        results = [session.generate(PROMPTS, max_new_tokens=6) for _ in range(2)]
    assert len(kept) == 2
    assert all(backing.startswith("file, ") for backing in kept)
    for result in results:
        assert result.tokens == plain_tokens(model, PROMPTS, 6, WORKLOAD.max_len)
    if clock == "virtual":
        with Session(plan, model, clock="virtual") as session:
            assert session.generate(PROMPTS, max_new_tokens=6).decode_s == results[0].decode_s


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files where the system lists them")
def test_closing_a_session_closes_its_files(tmp_path: Path) -> None:
    model = transformer()
    gc.collect()
    before = open_files()
    session = Session(plan_for(model, "instinfer", 2), model, clock="virtual", drive_folder=str(tmp_path))
    assert open_files() == before + 2
    session.close()
    session.close()
    assert open_files() == before
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    message = r"a drive cannot hold its caches: csd0: no file for pages can be made in .*nowhere: .*; give a folder that"
    with pytest.raises(SessionError, match=message):
        Session(plan_for(transformer(), "instinfer"), transformer(), drive_folder=tmp_path / "nowhere")


def test_a_generation_goes_on_without_a_drive_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    model = transformer()
    execute = Drive.execute

    def dead(self: Drive, command: Any, start_s: float) -> Any:
        completion = execute(self, command, start_s)
        return (
            dataclasses.replace(completion, end_s=float("inf")) if isinstance(command, Attend) else completion
        )

    with Session(plan_for(model, "instinfer"), model, clock="virtual", command_timeout_s=7.0) as session:
        with monkeypatch.context() as patched:
            patched.setattr(Drive, "execute", dead)
            first = session.generate(PROMPTS, max_new_tokens=6)
        second = session.generate(PROMPTS, max_new_tokens=6)
    assert first.recoveries[0].fault.startswith("DriveTimeout: csd0: Attend got no answer within 7 s")
    assert first.recoveries[0].seconds == pytest.approx(7.0, abs=0.1)
    expected = plain_tokens(model, PROMPTS, 6, WORKLOAD.max_len)
    assert first.tokens == second.tokens == expected


def test_a_timeout_must_be_positive() -> None:
    with pytest.raises(SessionError, match="command_timeout_s is 0; give a positive number of seconds"):
        Session(plan_for(transformer(), "instinfer"), transformer(), command_timeout_s=0)
