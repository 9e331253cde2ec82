"""``instinfer reproduce``: the published evaluation, predicted, as tables, JSON and plots."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.options import Json
from runtime.cli.progress import GenerationProgress
from runtime.cli.reproduce.figure import Figure
from runtime.cli.reproduce.figures import figures_named
from runtime.cli.reproduce.results import Result, mean_error, result_cells, results
from runtime.cli.reproduce.testbed import Testbed
from runtime.cli.reproduce.text import figure_text, summary_text
from runtime.cli.written_file import check_folder

FigureName = Annotated[
    str | None,
    typer.Option(
        "--figure",
        help="throughput, breakdown, scaling, sensitivity, endurance or io; without it, all and a summary.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Write tables, JSON and plots into this folder, made if it is not there."),
]


def reproduce_command(figure: FigureName = None, as_json: Json = False, out: Out = None) -> None:
    """Predict the published evaluation of InstInfer and hold it against the published figures."""
    sources = figures_named(figure)
    if out is not None:
        check_folder(out)
    bed = Testbed()
    cells = [cell for source in sources for cell in source.cells()]
    with GenerationProgress() as progress:
        wanted = [*cells, *(result_cells() if figure is None else ())]
        bed.predict_all(wanted, progress, processes=os.cpu_count() or 1)
    made = [source.collect(bed.of) for source in sources]
    summary = results(bed.of) if figure is None else ()
    data = as_data(summary, made)
    texts = [*([summary_text(summary)] if summary else []), *map(figure_text, made)]
    typer.echo(json.dumps(data, indent=2) if as_json else "\n\n".join(texts))
    if out is not None:
        write_folder(out, data, "\n\n".join(texts), made)


def as_data(summary: tuple[Result, ...], made: list[Figure]) -> dict[str, Any]:
    """Returns results and figures as plain data; without a summary, figures alone."""
    data: dict[str, Any] = {"figures": {figure.name: figure.to_dict() for figure in made}}
    if summary:
        data = {"results": [r.to_dict() for r in summary], "mean_error": mean_error(summary), **data}
    return data


def write_folder(folder: Path, data: dict[str, Any], text: str, made: list[Figure]) -> None:
    """Writes everything beside the folder first and moves it in then, so that nothing half-written is ever there.

    Raises:
        ArgumentError: The folder cannot be written.
    """
    from runtime.cli.reproduce.plot import draw

    try:
        with tempfile.TemporaryDirectory(dir=folder) as draft:
            (Path(draft) / "reproduce.json").write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
            (Path(draft) / "reproduce.txt").write_text(text + "\n", encoding="utf-8")
            for figure in made:
                draw(figure, Path(draft) / f"{figure.name}.png")
            for file in sorted(Path(draft).iterdir()):
                shutil.move(file, folder / file.name)
    except OSError as error:
        raise ArgumentError(f"cannot write into --out {str(folder)!r}: {error.strerror or error}") from None
