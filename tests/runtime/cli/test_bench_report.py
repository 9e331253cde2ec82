"""What a benchmark prints, from figures made up for the purpose."""

import json
from pathlib import Path

import pytest

from runtime.bench_machine import Machine
from runtime.bench_report import BenchReport
from runtime.bench_row import BenchRow
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

MB over each kind of link, and read from flash while decoding: predicted / measured
policy       batch   csd down       csd up  flash read
flexgen-ssd      4  123 / 123  1.25 / 1.25     55 / 55
instinfer        4  123 / 123  1.25 / 1.25     55 / 55
auto             8      0 / 0        0 / 0       0 / 0"""


def row(
    policy: str, batch_size: int, predicted: float, measured: tuple[float, ...], usage: Usage = USAGE
) -> BenchRow:
    return BenchRow(
        policy=policy,
        batch_size=batch_size,
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
