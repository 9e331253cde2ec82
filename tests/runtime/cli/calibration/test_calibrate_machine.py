"""A measured machine: the file loads, every number says where it comes from, and nothing is left half-written."""

import dataclasses
from pathlib import Path

import jax
import pytest
from typer.testing import CliRunner

from cost_models import HardwareSpec
from cost_models.hardware_file import parse
from models import load_pretrained
from runtime.cli.calibration import command
from runtime.cli.calibration.command import calibration_report
from runtime.cli.calibration.held_runs import HeldRun, hold_runs
from runtime.cli.calibration.kernel_figures import KernelFigures
from runtime.cli.calibration.kernel_fit import KernelFit
from runtime.cli.calibration.machine_file import machine_text, write_whole
from runtime.cli.calibration.measured_machine import MeasuredMachine, measure_machine
from runtime.cli.calibration.pinned_copies import CopySample, fit_copies, measure_pinned_copies
from runtime.cli.main import app
from tests.runtime.cli.calibration.little_effort import LITTLE
from tests.runtime.cli.calibration.processors import MADE_UP


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> MeasuredMachine:
    done: list[tuple[str, int, int]] = []
    machine = measure_machine(tmp_path_factory.mktemp("disk"), LITTLE, lambda *news: done.append(news))
    assert [news[1] for news in done] == list(range(1, done[-1][2] + 1))
    return machine


@pytest.fixture
def hw(found: MeasuredMachine, tmp_path: Path) -> HardwareSpec:
    file = tmp_path / "machine.toml"
    write_whole(file, machine_text(found))
    assert [path.name for path in tmp_path.iterdir()] == ["machine.toml"]
    return HardwareSpec.load(file)


def test_the_file_loads_and_nothing_is_emulated(hw: HardwareSpec, found: MeasuredMachine) -> None:
    assert not hw.gpus[0].emulated
    assert not hw.host.emulated
    assert hw.gpus[0].peak_flops["float32"] == pytest.approx(found.host_line.peak_flops["float32"], rel=1e-3)
    assert hw.link("gpu0").bytes_per_s == pytest.approx(found.copies.bytes_per_s, rel=1e-3)


def test_the_host_attends_at_the_measured_rate(hw: HardwareSpec, found: MeasuredMachine) -> None:
    rate = min(found.host_attention_bytes_per_s, hw.host.memory_bytes_per_s)
    assert hw.host.attention_bytes_per_s == pytest.approx(rate, rel=1e-3)
    assert "the host's kernel attends at" in hw.source_of("host.attention_efficiency")


def test_the_drive_reads_and_writes_at_the_measured_rates(hw: HardwareSpec, found: MeasuredMachine) -> None:
    flash = hw.drives[0].flash
    assert hw.drives[0].engine is None
    assert flash.internal_bytes_per_s == pytest.approx(found.disk.read_bytes_per_s, rel=1e-2)
    programs = min(found.disk.write_bytes_per_s, found.disk.read_bytes_per_s)
    assert flash.program_bytes_per_s == pytest.approx(programs, rel=1e-2)


def test_every_number_has_a_source_that_names_day_machine_and_versions(
    hw: HardwareSpec, found: MeasuredMachine
) -> None:
    begin = f"measured on {found.day.isoformat()} on {found.machine.processor}"
    chosen = {key for key, source in hw.sources.items() if not source.startswith(begin)}
    assert all(hw.sources[key].startswith("chosen: ") for key in chosen)
    assert {"gpu.memory_efficiency", "host.launch_s", "link.gpu.bytes_per_s", "drive.flash.t_read_s"} <= set(
        hw.sources
    ) - chosen
    assert "with jax " in hw.sources["gpu.launch_s"]


def test_a_device_with_memory_of_its_own_is_described_by_its_chains(found: MeasuredMachine) -> None:
    """Every fitted value is in the file, to the four digits that it writes, and says what it was fitted to."""
    copies = dataclasses.replace(found.copies, samples=(CopySample(1 << 20, 3e-5, 4e-5, 5e-5),))
    apart = dataclasses.replace(
        found,
        kernels=KernelFigures(MADE_UP.name, MADE_UP.launch_s, ()),
        kernel_fit=KernelFit(MADE_UP, 0.05),
        copies=copies,
    )
    hw = parse(machine_text(apart), "a GPU")
    assert hw.gpus[0] == MADE_UP
    assert "fit to 0 decode steps of models of few layers, residual 5.0%" in hw.sources["gpu.kernel_s"]
    assert "pinned memory" in hw.sources["link.gpu.bytes_per_s"]
    assert hw.host.kernel_s == 0.0


def test_copies_are_fitted_by_latency_and_rate() -> None:
    samples = tuple(CopySample(n, 1e-5 + n / 6e10, 2e-5 + n / 5e10, 1.0) for n in (1 << 16, 1 << 20, 1 << 28))
    rate, latency_s = fit_copies(samples)
    assert rate == pytest.approx(5e10)
    assert latency_s == pytest.approx(2e-5)


def test_pinned_copies_are_timed_each_way_and_at_once() -> None:
    (sample,) = measure_pinned_copies(jax.devices("cpu")[0], (4096,), 0.0)
    assert sample.num_bytes == 4096
    assert min(sample.to_device_s, sample.from_device_s, sample.at_once_s) > 0.0


def test_runs_that_nothing_slows_down_are_held_against_the_description(
    hw: HardwareSpec, found: MeasuredMachine
) -> None:
    (run,) = hold_runs(hw, [load_pretrained("tiny")], lambda *news: None, batches=(1,))
    assert run.predicted_s > 0.0
    assert run.measured_s > 0.0
    assert run.error == pytest.approx(run.measured_s / run.predicted_s - 1.0)


def test_the_report_shows_fit_and_residuals(found: MeasuredMachine) -> None:
    report = calibration_report(found, [HeldRun("tiny", 1, 1e-3, 1.25e-3)])
    assert "compute_efficiency" in report
    assert "float32 64 x 256 x 256" in report
    assert report.splitlines()[-1].split() == ["tiny", "1", "1.00", "1.25", "+25%"]


def test_a_file_that_cannot_be_written_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "measure_machine", None)
    for path, message in (
        (tmp_path / "none" / "a.toml", "there is no folder"),
        (tmp_path / "a.txt", r"the suffix must be one of .toml"),
        (tmp_path, "the suffix must be one of .toml"),
    ):
        result = CliRunner().invoke(app, ["calibrate", "--out", str(path)])
        assert result.exit_code == 2
        assert message in result.stderr
    folder = tmp_path / "folder.toml"
    folder.mkdir()
    result = CliRunner().invoke(app, ["calibrate", "--out", str(folder)])
    assert "it is a folder, or its folder cannot be written to" in result.stderr


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "machine.toml"
    file.write_text("kept", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError, match="surrogates not allowed"):
        write_whole(file, "\ud800")
    assert file.read_text(encoding="utf-8") == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["machine.toml"]
