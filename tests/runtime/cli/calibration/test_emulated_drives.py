"""What emulating drives takes: worked out of made-up events, fitted to made-up samples, and measured on tiny decodes."""

import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cost_models import HardwareSpec
from cost_models.hardware_file import parse
from models import abstract
from partitioner import Plan, Workload, partition
from partitioner.plan.timeline import Event
from runtime.cli.calibration import command
from runtime.cli.calibration.drive_effort import DriveEffort, DriveSession
from runtime.cli.calibration.drive_sessions import DriveSample, at_once, sample_of
from runtime.cli.calibration.emulated_drives import drives_of, emulation_lines, with_emulation
from runtime.cli.calibration.emulation_fit import fit_emulation
from runtime.cli.calibration.machine_file import machine_text
from runtime.cli.calibration.measured_machine import measure_machine
from runtime.cli.main import app
from tests.runtime.cli.calibration.little_effort import LITTLE

NUM_LAYERS, NUM_STEPS = 4, 3
ATTEND_S, BACK_S, THERE_S, STEP_S, LATE_S = 5e-3, 4e-4, 3e-4, 7e-4, 1e-4


@pytest.fixture(scope="module")
def plan() -> Plan:
    return partition(
        abstract("tiny"), at_once(HardwareSpec.load("h200-csd4")), Workload(7, 64, 9), "instinfer"
    )


def test_drives_at_once_take_no_time_and_never_fail(plan: Plan) -> None:
    busy = plan.predicted_timeline("decode").busy_s("decode")
    assert max(seconds for name, seconds in busy.items() if name != "gpu0") < 1e-9
    assert busy["gpu0"] > 1e-6


def test_a_sample_is_what_its_events_were_made_of(plan: Plan) -> None:
    """Drives begin one after the other; the last one's begin counts. What the device is predicted to take is taken off."""
    runs_s = [e.end_s - e.start_s for e in plan.predicted_timeline("decode").events if e.resource == "gpu0"]
    assert len(runs_s) == NUM_LAYERS + 1
    now_s, events = 0.0, [Event("gpu0", "first", "decode", 0.0, 1e-3)]
    for number in range(NUM_STEPS * NUM_LAYERS):
        for drive in range(4):
            begin_s = now_s + LATE_S * drive / 3
            events.append(
                Event(f"csd{drive}", "attention", "decode", begin_s, now_s + LATE_S + ATTEND_S - 1e-4 * drive)
            )
        events.append(Event("csd0.up", "hand_over", "decode", now_s, now_s + 1e-5))
        given_s = now_s + LATE_S + ATTEND_S + BACK_S
        is_last = number % NUM_LAYERS == NUM_LAYERS - 1
        device_s = runs_s[-1] + runs_s[0] + STEP_S if is_last else runs_s[1]
        events.append(Event("gpu0", "layer", "decode", given_s, given_s + device_s + THERE_S / 2))
        now_s = given_s + device_s + THERE_S - LATE_S
    sample = sample_of(plan, "made up", 1e6, NUM_LAYERS, [events, events])
    assert sample.attend_s == pytest.approx(ATTEND_S)
    assert sample.from_share_s == pytest.approx(BACK_S)
    assert sample.to_share_s == pytest.approx(THERE_S)
    assert sample.step_s == pytest.approx(STEP_S)


def test_a_fit_finds_rate_and_command_and_says_what_is_left() -> None:
    ways = (4e-4, 3e-4, 7e-4)
    samples = [DriveSample("", n, 2e-3 + n / 50e9, *ways) for n in (1e6, 1e8, 7e8)]
    fit = fit_emulation(samples)
    assert fit.spec.bytes_per_s == pytest.approx(50e9)
    assert fit.spec.command_s == pytest.approx(2e-3)
    assert (fit.spec.from_share_s, fit.spec.to_share_s, fit.spec.step_s) == pytest.approx(ways)
    assert fit.residual == pytest.approx(0.0, abs=1e-9)
    late = [*samples[:2], dataclasses.replace(samples[2], attend_s=2 * samples[2].attend_s)]
    assert fit_emulation(late).residual > 0.1


def test_a_machine_is_described_with_the_drives_that_it_emulates(tmp_path: Path) -> None:
    tiny = DriveEffort(
        alone=(DriveSession(4, 16, 3, 16), DriveSession(4, 16, 3, 48)), num_layers=3, new_tokens=4, repeats=1
    )
    described = drives_of("h200-csd4")
    told: list[tuple[str, int, int]] = []
    found = measure_machine(tmp_path, LITTLE, lambda *news: None)
    machine = with_emulation(found, described, tiny, lambda *news: told.append(news))
    assert told == [("emulating drives", 1, 2), ("emulating drives", 2, 2)]
    hw = parse(machine_text(machine), "this machine")
    assert hw.drives == described.drives
    assert [hw.link(f"csd{n}") for n in range(4)] == [described.link(f"csd{n}") for n in range(4)]
    assert hw.source_of("drive.flash.t_read_s") == described.source_of("drive.flash.t_read_s")
    assert machine.emulation is not None
    assert hw.emulation is not None
    assert hw.emulation.command_s == pytest.approx(machine.emulation.spec.command_s, rel=1e-3, abs=1e-9)
    assert "2 decodes with all attentions on 4 drives of h200-csd4" in hw.source_of("emulation.bytes_per_s")
    assert len(emulation_lines(machine.emulation)) == 2 + 2 + 1
    assert emulation_lines(None) == []


def test_drives_below_a_switch_stay_there(tmp_path: Path) -> None:
    described = drives_of("smartssd-16")
    assert described.drives_per_switch
    found = dataclasses.replace(measure_machine(tmp_path, LITTLE, lambda *news: None), described=described)
    hw = parse(machine_text(found), "this machine")
    assert hw.emulation is None
    assert hw.ports["csd9"] == described.ports["csd9"]
    assert hw.link("switch0") == described.link("switch0")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--drives-of", "none"], "--drives-of: no preset or file 'none'"),
        (
            ["--drives-of", "FILE"],
            r"it has no drives with an engine, so none attends; name a description with",
        ),
        (["--paper", "--drives-of", "h200-csd4"], "--drives-of is for the measured machine"),
    ],
)
def test_drives_that_cannot_be_emulated_are_refused_before_any_work(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "measure_machine", None)
    file = tmp_path / "plain.toml"
    text = (Path(__file__).parents[4] / "cost_models/presets/h200-csd4.toml").read_text(encoding="utf-8")
    begin, end = text.index("[drive.engine]"), text.index("[link.gpu]")
    file.write_text(text[:begin] + text[end:], encoding="utf-8")
    given = [str(file) if argument == "FILE" else argument for argument in arguments]
    result = CliRunner().invoke(app, ["calibrate", *given])
    assert result.exit_code == 2
    assert message in result.stderr
