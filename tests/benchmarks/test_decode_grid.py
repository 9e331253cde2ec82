"""A grid of decode steps: what fits is measured and predicted, what does not is told of and never made."""

import pytest

from benchmarks.decode_grid import Cell, measure_model, needed_bytes, summary, table_line
from cost_models import HardwareSpec
from models import abstract
from tests.partitioner.small_models import OPT


def test_cells_with_room_are_measured_and_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    hw = HardwareSpec.load("demo")
    huge = 1_000_000
    cells = list(measure_model(OPT, hw, (1, huge), (64,)))
    assert [(c.model, c.batch, c.context) for c in cells] == [(OPT.name, 1, 64)]
    assert cells[0].measured_s > 0.0
    assert cells[0].predicted_s > 0.0
    assert f"{OPT.name} {huge} x 64: needs " in capsys.readouterr().out


def test_a_decode_needs_parameters_and_caches() -> None:
    model = abstract(OPT)
    more = needed_bytes(model, 3, 100) - needed_bytes(model, 2, 100)
    assert more == 2 * 100 * 32 * 2


def test_errors_are_shares_of_what_was_measured() -> None:
    cells = [Cell("a", 1, 64, 1.1e-3, 1e-3), Cell("a", 4, 64, 0.8e-3, 1e-3), Cell("a", 16, 64, 1e-3, 1e-3)]
    assert cells[0].error == pytest.approx(0.1)
    assert table_line(cells[1]).split() == ["a", "4", "64", "0.800", "1.000", "-20.0%"]
    assert summary(cells) == "3 cells: error 10.0% in the median, 20.0% at worst"
