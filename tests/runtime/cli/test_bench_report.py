"""What a benchmark prints, from figures made up for the purpose."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from runtime.bench_machine import Machine
from runtime.bench_report import BenchReport
from runtime.bench_row import BenchRow
from runtime.bench_summary import summarize
from runtime.bench_usage import Usage

MACHINE = Machine(
    "a processor", 2, "cpu (cpu)", "Linux x86_64", "3.11.7", (("jax", "0.10.2"), ("numpy", "2.4.6"))
)
USAGE = Usage({"csd0": 4.0, "csd0.up": 1.5}, {"csd down": 123456789.0, "csd up": 1.25e6}, 5.5e7)
IDLE = Usage({}, {}, 0.0)

TABLE = """\
tiny on demo, wall clock (time measured), median of 3 runs
prompts of up to 430 tokens, 8 new tokens each
a processor, 2 cores, JAX on cpu (cpu)
Linux x86_64, Python 3.11.7, jax 0.10.2, numpy 2.4.6

                     tokens/s  tokens/s            time vs  x flexgen-ssd              same
policy       batch  predicted  measured  spread  predicted      predicted  measured  tokens
flexgen-ssd      4       10.0      10.0    5.0%      +0.0%           1.00      1.00     yes
instinfer        4       16.0      15.0    6.7%      +6.7%           1.60      1.50     yes
auto             8       90.0      80.0    0.0%     +12.5%              -         -       -

3 plans: measured tokens/s differ from the prediction by 6.2% in the median, 11.1% at worst
  (auto, batch 8, 430 tokens, 1 drive); the least fidelity is 0.990
1 of 1 pairs of policies in 1 cells that differ by more than 10% are in the predicted order

Seconds in use of each kind of device and link, equal ones added up: predicted/measured
policy       batch        csd     csd up
flexgen-ssd      4  4.00/4.00  1.50/1.50
instinfer        4  4.00/4.00  1.50/1.50
auto             8  0.00/0.00  0.00/0.00

MB over each kind of link, and read from flash while decoding: predicted/measured
policy       batch  csd down     csd up  flash read
flexgen-ssd      4   123/123  1.25/1.25       55/55
instinfer        4   123/123  1.25/1.25       55/55
auto             8       0/0        0/0         0/0"""


def row(
    policy: str,
    batch_size: int,
    predicted: float,
    measured: tuple[float, ...],
    usage: Usage = USAGE,
    cell: tuple[int, int] = (430, 1),
) -> BenchRow:
    """A row, of a number of tokens and of drives."""
    return BenchRow(
        policy=policy,
        batch_size=batch_size,
        prompt_len=cell[0],
        num_drives=cell[1],
        predicted_tokens_per_s=predicted,
        measured_tokens_per_s=measured,
        predicted_prefill_s=1.0,
        measured_prefill_s=(1.0,) * len(measured),
        predicted=usage,
        measured=usage,
        fidelity=0.99,
        tokens=((1, 2), (3,)),
    )


@pytest.fixture
def report() -> BenchReport:
    return BenchReport(
        model="tiny",
        hardware="demo",
        clock="wall",
        prompt_len=430,
        max_new_tokens=8,
        repeats=3,
        baseline="flexgen-ssd",
        machine=MACHINE,
        rows=(
            row("flexgen-ssd", 4, 10.0, (9.8, 10.3, 10.0)),
            row("instinfer", 4, 16.0, (15.0, 14.5, 15.5)),
            row("auto", 8, 90.0, (80.0, 80.0, 80.0), IDLE),
        ),
    )


def test_the_table_has_settings_speeds_ratios_and_bytes(report: BenchReport) -> None:
    assert report.table() == TABLE


def test_the_median_and_the_spread_are_those_of_the_runs(report: BenchReport) -> None:
    assert report.rows[0].tokens_per_s == 10.0
    assert report.rows[0].spread == pytest.approx(0.05)


def test_a_row_is_held_against_the_baseline_of_its_own_batch(report: BenchReport) -> None:
    ratio = report.ratio(report.rows[1])
    assert ratio is not None
    assert (ratio.predicted, ratio.measured, ratio.same_tokens) == (1.6, 1.5, True)
    assert report.ratio(report.rows[2]) is None


def test_the_data_can_be_written_as_json(report: BenchReport) -> None:
    data = json.loads(json.dumps(report.to_dict()))
    assert data["rows"][1]["ratio"] == {"predicted": 1.6, "measured": 1.5, "same_tokens": True}
    assert data["rows"][2]["ratio"] is None
    assert data["machine"]["versions"] == {"jax": "0.10.2", "numpy": "2.4.6"}


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_the_plot_is_written_in_the_format_of_its_suffix(
    report: BenchReport, tmp_path: Path, suffix: str, start: bytes
) -> None:
    file = tmp_path / f"plot.{suffix}"
    report.plot(file)
    assert file.read_bytes().startswith(start)


def test_in_a_grid_rows_are_told_apart_and_held_against_their_own_cell(report: BenchReport) -> None:
    other = row("flexgen-ssd", 4, 20.0, (20.0,), cell=(430, 2)), row("auto", 4, 50.0, (60.0,), cell=(430, 2))
    grid = replace(report, rows=(*report.rows[:2], *other))
    ratio = grid.ratio(other[1])
    assert ratio is not None
    assert (ratio.predicted, ratio.measured) == (2.5, 3.0)
    lines = grid.table().splitlines()
    assert [line.split()[1] for line in lines[7:11]] == ["4/430/1", "4/430/1", "4/430/2", "4/430/2"]
    assert max(map(len, lines)) <= 100
    assert grid.summary.num_cells == 2


class TestSummary:
    """Errors are of the speed, as a share of the prediction; orders are those of policies that differ enough."""

    def test_errors_are_those_of_medians(self) -> None:
        found = summarize(
            [row("a", 1, 10.0, (8.0, 9.0, 20.0)), row("b", 1, 10.0, (13.0,)), row("c", 2, 5.0, (5.0,))]
        )
        assert found.median_error == pytest.approx(0.1)
        assert found.worst_error == pytest.approx(0.3)
        assert found.worst == "b, batch 1, 430 tokens, 1 drive"
        assert (found.num_rows, found.num_cells) == (3, 1)

    def test_a_pair_in_the_wrong_order_is_named(self) -> None:
        found = summarize([row("a", 1, 10.0, (10.0,)), row("b", 1, 12.0, (9.0,))])
        assert (found.num_orders, found.wrong_orders) == (1, ("a and b, batch 1, 430 tokens, 1 drive",))
        assert "0 of 1 pairs" in str(found)
        assert "not so: a and b" in str(found)

    @pytest.mark.parametrize(
        ("predicted", "measured", "num_orders"), [(10.9, 9.2, 0), (11.1, 10.5, 1), (9.5, 12.0, 1)]
    )
    def test_the_order_of_equally_fast_policies_is_not_asked_for(
        self, predicted: float, measured: float, num_orders: int
    ) -> None:
        found = summarize([row("a", 1, 10.0, (10.0,)), row("b", 1, predicted, (measured,))])
        assert found.num_orders == num_orders

    def test_policies_in_different_cells_are_not_held_against_each_other(self) -> None:
        found = summarize([row("a", 1, 10.0, (10.0,)), row("b", 1, 20.0, (5.0,), cell=(430, 2))])
        assert (found.num_cells, found.num_orders) == (0, 0)
