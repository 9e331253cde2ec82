"""The published figures are predicted within their bars, all by one set of at most eight parameters."""

import json

import pytest

from runtime.cli.reproduce.cell import FLEXGEN, Cell
from runtime.cli.reproduce.command import as_data
from runtime.cli.reproduce.figures import FIGURES
from runtime.cli.reproduce.prediction import Prediction
from runtime.cli.reproduce.results import Result, mean_error, result_cells, results
from runtime.cli.reproduce.testbed import Testbed


@pytest.fixture(scope="module")
def bed() -> Testbed:
    made = Testbed()
    made.predict_all(result_cells())
    return made


@pytest.fixture(scope="module")
def found(bed: Testbed) -> dict[str, Result]:
    return {result.figure.id: result for result in results(bed.of)}


@pytest.mark.parametrize("name", [f"R{n}" for n in range(1, 17)])
def test_every_figure_is_within_its_bar(found: dict[str, Result], name: str) -> None:
    result = found[name]
    assert result.holds, (result.figure.what, result.figure.values, result.ours)


def test_the_mean_error_of_the_throughput_ratios(found: dict[str, Result]) -> None:
    assert mean_error(tuple(found.values())) <= 0.10


def test_parts_of_a_step_add_up(bed: Testbed, found: dict[str, Result]) -> None:
    predictions = [p for p in bed.found.values() if isinstance(p, Prediction)]
    assert len(predictions) > 35
    for prediction in predictions:
        assert min(prediction.parts_s.values()) >= 0
        assert sum(prediction.parts_s.values()) == pytest.approx(prediction.step_s, rel=0.02)


def test_out_of_memory_is_a_matter_of_bytes(bed: Testbed, found: dict[str, Result]) -> None:
    reason = bed.of(Cell(FLEXGEN, 128))
    assert isinstance(reason, str)
    assert "gpu0 is short of" in reason
    assert "for activations" in reason


def test_data_of_results_and_figures_is_json(bed: Testbed, found: dict[str, Result]) -> None:
    made = [FIGURES[name].collect(bed.of) for name in ("breakdown", "io")]
    data = json.loads(json.dumps(as_data(tuple(found.values()), made), allow_nan=False))
    assert [row["id"] for row in data["results"]] == [f"R{n}" for n in range(1, 17)]
    assert {"id", "what", "unit", "paper", "ours", "error", "error_kind", "bar", "holds"} == set(
        data["results"][0]
    )
    assert data["results"][0]["paper"] == 6.85
    assert data["results"][10]["ours"] is True
    assert set(data["figures"]) == {"breakdown", "io"}
    breakdown = data["figures"]["breakdown"]
    assert len(breakdown["rows"][0]) == len(breakdown["columns"])
    assert {"name", "title", "columns", "rows", "panels", "note"} == set(breakdown)
