"""The fit finds the efficiencies that made-up times were made with."""

import pytest

from runtime.cli.calibration.effort import Effort
from runtime.cli.calibration.fit import errors_of, fit_roofline
from runtime.cli.calibration.processor import ProcessorFigures, Sample

RATE = 20e9


def made_up(launch_s: float, flops_per_s: float, bytes_per_s: float) -> ProcessorFigures:
    """Products that take what a roofline of these values says."""
    samples: list[Sample] = []
    for rows, inner, outer in Effort().products:
        flops, num_bytes = 2.0 * rows * inner * outer, 4.0 * (inner * outer + rows * (inner + outer))
        seconds = launch_s + max(flops / flops_per_s, num_bytes / bytes_per_s)
        samples.append(Sample("float32", (rows, inner, outer), flops, num_bytes, seconds))
    return ProcessorFigures("made up", launch_s, RATE, tuple(samples))


@pytest.mark.parametrize("launch_s", [0.0, 2e-4])
def test_made_up_values_are_found(launch_s: float) -> None:
    figures = made_up(launch_s, 60e9, 0.7 * RATE)
    line = fit_roofline(figures)
    assert line.residual < 1e-6
    assert line.launch_s == pytest.approx(launch_s, abs=1e-9)
    assert line.compute_efficiency * line.peak_flops["float32"] == pytest.approx(60e9)
    assert line.memory_efficiency == pytest.approx(0.7)
    assert line.memory_bytes_per_s == RATE


def test_what_no_roofline_gives_is_the_residual() -> None:
    figures = made_up(0.0, 60e9, 0.7 * RATE)
    odd = Sample("float32", (1, 1, 1), 1e9, 1e8, 10.0)
    line = fit_roofline(ProcessorFigures("odd", 0.0, RATE, (*figures.samples, odd)))
    assert line.residual > 0.2
    assert min(errors_of(line, [odd])) < -0.9


def test_efficiencies_are_at_most_one() -> None:
    line = fit_roofline(made_up(0.0, 60e9, RATE))
    assert 0.0 < line.compute_efficiency <= 1.0
    assert 0.0 < line.memory_efficiency <= 1.0
