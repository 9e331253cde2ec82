"""The printed form of a benchmark, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.bench_report import BenchReport
from runtime.bench_row import BenchRow

Cells = Sequence[str]


def bench_table(report: BenchReport) -> str:
    """Returns settings and machine, then speeds and how well they were predicted, then seconds in use and bytes."""
    time = "time measured" if report.clock == "wall" else "time emulated"
    runs = "one run" if report.repeats == 1 else f"median of {report.repeats} runs"
    return "\n".join(
        (
            f"{report.model} on {report.hardware}, {report.clock} clock ({time}), {runs}",
            f"prompts of up to {report.prompt_len} tokens, {report.max_new_tokens} new tokens each",
            str(report.machine),
            "",
            *_speeds(report),
            "",
            str(report.summary),
            "",
            *_busy(report),
            "",
            *_bytes(report),
        )
    )


def align(rows: Sequence[Cells], left: int = 1) -> list[str]:
    """Returns lines of equally wide columns, the first ``left`` flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if index < left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _speeds(report: BenchReport) -> list[str]:
    """Returns tokens per second, the error of the prediction, and the ratio to the baseline."""
    first, second = _cell_head(report)
    head = [
        ("", first, "tokens/s", "tokens/s", "", "time vs", f"x {report.baseline}", "", "same"),
        (
            "policy",
            second,
            "predicted",
            "measured",
            "spread",
            "predicted",
            "predicted",
            "measured",
            "tokens",
        ),
    ]
    return align([*head, *(_speed(report, row) for row in report.rows)])


def _speed(report: BenchReport, row: BenchRow) -> Cells:
    ratio = report.ratio(row)
    compared = ("-", "-", "-")
    if ratio is not None:
        compared = (f"{ratio.predicted:.2f}", f"{ratio.measured:.2f}", "yes" if ratio.same_tokens else "NO")
    return (
        row.policy,
        _cell(report, row),
        f"{row.predicted_tokens_per_s:.1f}",
        f"{row.tokens_per_s:.1f}",
        f"{row.spread:.1%}" if report.repeats > 1 else "-",
        f"{row.time_error:+.1%}",
        *compared,
    )


def _is_grid(report: BenchReport) -> bool:
    """Tells whether a batch size alone does not say which cell a row is of."""
    return len({row.cell for row in report.rows}) > len(report.batch_sizes)


def _cell_head(report: BenchReport) -> tuple[str, str]:
    """Returns two lines over the column that tells cells apart."""
    return ("batch/", "prompt/drives") if _is_grid(report) else ("", "batch")


def _cell(report: BenchReport, row: BenchRow) -> str:
    size = str(row.batch_size)
    return f"{size}/{row.prompt_len}/{row.num_drives}" if _is_grid(report) else size


def _busy(report: BenchReport) -> list[str]:
    """Returns the seconds in use of each kind of device and link direction, predicted beside measured."""
    usages = [usage for row in report.rows for usage in (row.predicted, row.measured)]
    kinds = sorted({kind for usage in usages for kind in usage.kind_busy_s})
    rows = [
        (
            row.policy,
            _cell(report, row),
            *(
                f"{row.predicted.kind_busy_s.get(kind, 0.0):.2f}/{row.measured.kind_busy_s.get(kind, 0.0):.2f}"
                for kind in kinds
            ),
        )
        for row in report.rows
    ]
    title = "Seconds in use of each kind of device and link, equal ones added up: predicted/measured"
    return [title, *align([("policy", _cell_head(report)[1], *kinds), *rows])]


def _bytes(report: BenchReport) -> list[str]:
    """Returns the bytes over each kind of link and from flash, predicted beside measured."""
    links = sorted({link for row in report.rows for link in _links(row)})
    title = "MB over each kind of link, and read from flash while decoding: predicted/measured"
    head = ("policy", _cell_head(report)[1], *links, "flash read")
    return [title, *align([head, *(_moved(report, row, links) for row in report.rows)])]


def _links(row: BenchRow) -> set[str]:
    """Returns the kinds of links that a row used, or was expected to."""
    return {*row.predicted.link_bytes, *row.measured.link_bytes}


def _moved(report: BenchReport, row: BenchRow, links: Sequence[str]) -> Cells:
    cells = [
        (row.predicted.link_bytes.get(link, 0.0), row.measured.link_bytes.get(link, 0.0)) for link in links
    ]
    cells.append((row.predicted.flash_read_bytes, row.measured.flash_read_bytes))
    return (row.policy, _cell(report, row), *(f"{_megabytes(a)}/{_megabytes(b)}" for a, b in cells))


def _megabytes(num_bytes: float) -> str:
    """Returns three significant digits, or all digits before the point."""
    value = num_bytes / 1e6
    return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.3g}"
