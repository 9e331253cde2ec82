"""The table, the plain data and the figure of a sweep."""

import json
from pathlib import Path

import pytest

from runtime.cli.sweep.plot import is_geometric, plot_sweep
from runtime.cli.sweep.table import sweep_table
from tests.runtime.cli.sweep.made_up_sweep import REASON, made_up_sweep


def test_the_table_has_a_row_per_value_and_policy() -> None:
    text = sweep_table(made_up_sweep())
    lines = text.splitlines()
    assert lines[0] == (
        "Predicted for opt-13b on a6000-csd: batch 64, prompts of 1024 tokens, 1024 new tokens each;"
    )
    assert max(map(len, lines)) <= 100
    rows = [
        line for line in lines if any(f" {policy} " in line for policy in ("auto", "gpu-only", "instinfer"))
    ]
    assert len(rows) == 12
    shown = "32G auto 40.0 250 csd0-3 98 0.2 2.50 75 0 25"
    assert rows[0].split() == shown.split()
    assert sum("see 1" in row for row in rows) == 2
    assert f"  1  {REASON}" in lines


def test_prices_are_left_out_where_none_are_known() -> None:
    assert "USD" in sweep_table(made_up_sweep())
    assert "USD" not in sweep_table(made_up_sweep(dollars=None))


def test_plain_data_has_reasons_and_figures() -> None:
    rows = json.loads(json.dumps(made_up_sweep().to_dict()))["rows"]
    assert rows[0]["value"] == 32e9
    assert rows[0]["tokens_per_s"] == 40
    assert rows[0]["reason"] is None
    assert rows[-2] == {"value": 256e9, "policy": "gpu-only", "reason": REASON}


@pytest.mark.parametrize("rates", [(40.0, 75.0, 130.0, 180.0), (1.0, 10.0, 100.0, 1000.0)])
@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_figure_is_written(tmp_path: Path, rates: tuple[float, ...], suffix: str) -> None:
    file = tmp_path / f"sweep.{suffix}"
    plot_sweep(made_up_sweep(rates), file)
    content = file.read_bytes()
    assert content.startswith(b"\x89PNG" if suffix == "png" else b"<?xml")


@pytest.mark.parametrize(
    ("values", "geometric"),
    [
        ((1, 2, 4, 8, 20), True),
        ((16, 64, 256), True),
        ((256, 16, 64), True),
        ((1, 2, 3, 4), False),
        ((100, 200, 300, 400), False),
        ((0, 1, 2, 4), False),
        ((1, 100), False),
    ],
)
def test_values_that_grow_by_factors(values: tuple[float, ...], geometric: bool) -> None:
    assert is_geometric(values) is geometric
