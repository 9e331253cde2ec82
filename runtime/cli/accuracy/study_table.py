"""The printed form of a study, at most 100 columns wide."""

from __future__ import annotations

from partitioner.plan.report.table import Column, paragraph, table
from runtime.cli.accuracy.study import NOTABLE_LOSS, Study, TextRow


def study_table(study: Study) -> str:
    """Returns one row per method and ratio, then retrieval by depth."""
    heading = (
        f"{study.model} on {study.excerpts} excerpts of {study.context} tokens from {study.text}: the first "
        f"{study.prompt_len} attend exactly, each later token as said. Python {study.python}, {study.seconds:.0f} s."
    )
    lines = [*paragraph(heading, ""), "", *table(_COLUMNS, [_cells(study, row) for row in study.text_rows])]
    lines += paragraph(
        f"x  loses more than {NOTABLE_LOSS:.0%} of exact attention's bits. Loss with its standard error over excerpts; read is "
        "relative to exact attention: entries of K and V, and flash pages of 4 KiB where drives attend so; agree is the share "
        "of next tokens that are those of exact attention.",
        "  ",
    )
    if study.needle_rows:
        lines += ["", *_retrieval(study)]
    return "\n".join(lines)


_COLUMNS = (
    Column("method", "left"),
    Column("ratio", "right"),
    Column("bits\nper byte", "right"),
    Column("loss\n%", "right"),
    Column("+-\n%", "right"),
    Column("", "left"),
    Column("agree\n%", "right"),
    Column("entries\nread %", "right"),
    Column("pages\nread %", "right"),
    Column("answers\nfound %", "right"),
)


def _cells(study: Study, row: TextRow) -> list[str]:
    found = study.retrieval(row.method, row.ratio)
    return [
        row.method,
        row.ratio,
        f"{row.bits_per_byte:.4f}",
        f"{100 * row.loss:.2f}",
        "-" if row.loss_error is None else f"{100 * row.loss_error:.2f}",
        "x" if row.is_notable else "",
        f"{100 * row.agreement:.1f}",
        f"{100 * row.entries:.1f}",
        "-" if row.pages is None else f"{100 * row.pages:.1f}",
        "-" if found is None else f"{100 * found:.0f}",
    ]


def _retrieval(study: Study) -> list[str]:
    """Returns the answers found by depth, and by context length."""
    contexts = sorted({row.context for row in study.needle_rows})
    depths = sorted({row.depth for row in study.needle_rows})
    columns = [
        Column("method", "left"),
        Column("ratio", "right"),
        *(Column(f"depth\n{depth:.0%}", "right") for depth in depths),
        *(Column(f"context\n{context}", "right") for context in contexts),
    ]
    rows = [
        [
            row.method,
            row.ratio,
            *(_share(study, row, depth=depth) for depth in depths),
            *(_share(study, row, context=context) for context in contexts),
        ]
        for row in study.text_rows
    ]
    heading = (
        f"Answers found, %: one of several keys is asked for behind the prompt, {study.needles} texts for each depth and "
        "context; by depth over all contexts, by context over all depths."
    )
    return [*paragraph(heading, ""), "", *table(columns, rows)]


def _share(study: Study, row: TextRow, depth: float | None = None, context: int | None = None) -> str:
    found = [
        needle.answers
        for needle in study.needle_rows
        if (needle.method, needle.ratio) == (row.method, row.ratio)
        and depth in (None, needle.depth)
        and context in (None, needle.context)
    ]
    return f"{100 * sum(found) / len(found):.0f}"
