"""``instinfer accuracy``: sparse attentions on text and on retrieval."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from models import Transformer
from runtime.cli.accuracy.budget_command import check_budget_on, measure_to, sensitivities_file
from runtime.cli.accuracy.study import Study, StudySize, run_study
from runtime.cli.accuracy.study_table import study_table
from runtime.cli.accuracy.texts import texts_of
from runtime.cli.accuracy.ways import FlashPages, ways_of
from runtime.cli.given_model import model_to_run
from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.options import Json, Model
from runtime.cli.progress import GenerationProgress
from runtime.cli.written_file import PLOT_FORMATS, check_folder, check_output, write_to

TextFile = Annotated[
    Path | None,
    typer.Option("--text", help="A text file; by default the standard library's held-out modules."),
]
Methods = Annotated[
    str,
    typer.Option(
        "--methods",
        help="Separated by commas: exact, sparf, sparq, window (newest tokens), streaming (newest and first 4), h2o.",
    ),
]
Ratios = Annotated[
    str, typer.Option("--ratios", help="Shares of K and V that are read, separated by commas.")
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context", min=8, help="Tokens per text, half of them the prompt; the model's most by default."
    ),
]
NumTexts = Annotated[int, typer.Option("--texts", min=1, help="Excerpts of text.")]
NumNeedles = Annotated[
    int, typer.Option("--needles", min=0, help="Retrieval texts per depth and context length; 0 for none.")
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--budget",
        help="Choose each layer's sparsity for this loss, such as 0.01, and hold the choice against the half of the text that "
        "the losses were not measured on.",
    ),
]
SensitivitiesFlag = Annotated[
    bool,
    typer.Option(
        "--sensitivities",
        help="Measure each layer on one half of the text, and write sensitivities.json into the checkpoint folder or --out.",
    ),
]
Plot = Annotated[Path | None, typer.Option("--plot", help="Write a figure to this file (.png, .svg, .pdf).")]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", file_okay=False, help="Write accuracy.txt, .json and .png into this folder, made if need be."
    ),
]


def accuracy_command(
    model: Model = "tiny",
    text: TextFile = None,
    methods: Methods = "exact,sparf,sparq,window,streaming,h2o",
    ratios: Ratios = "1,1/2,1/4,1/8,1/16",
    context: Context = None,
    texts: NumTexts = 8,
    needles: NumNeedles = 8,
    budget: BudgetOption = None,
    sensitivities: SensitivitiesFlag = False,
    as_json: Json = False,
    plot: Plot = None,
    out: Out = None,
) -> None:
    """Measure what sparse attention costs in bits per byte and in retrieval."""
    check_output(plot, PLOT_FORMATS)
    if out is not None:
        check_folder(out)
    if budget is not None and sensitivities:
        raise ArgumentError("--sensitivities measures what --budget chooses from; give one of them at a time")
    if (plot is not None and sensitivities) or (budget is not None and (plot is not None or out is not None)):
        raise ArgumentError(
            "figures and tables are of the whole study; leave out --plot, and --out with --budget"
        )
    given = texts_of(text)
    loaded = model_to_run(model)
    length = _context(loaded, context)
    size = StudySize(length, length // 2, texts, needles)
    if sensitivities:
        measure_to(loaded, given.halves()[0], size, sensitivities_file(model, out), as_json)
        return
    if budget is not None:
        check_budget_on(loaded, given.halves()[1], size, budget, as_json)
        return
    ways = ways_of(methods, ratios, FlashPages(loaded.config, size.prompt_len, size.context))
    with GenerationProgress() as progress:
        found = run_study(loaded, given, ways, size, time.perf_counter, progress)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else study_table(found))
    _write(found, plot, out)


def _context(model: Transformer, wanted: int | None) -> int:
    most = model.config.max_position
    if wanted is not None and wanted > most:
        raise ArgumentError(
            f"--context {wanted} is longer than the model's {most} positions; give at most {most}"
        )
    return wanted or most


def _write(study: Study, plot: Path | None, out: Path | None) -> None:
    if plot is None and out is None:
        return
    from runtime.cli.accuracy.study_plot import plot_study

    if plot is not None:
        write_to(plot, lambda path: plot_study(study, path))
    if out is not None:
        text, data = study_table(study) + "\n", json.dumps(study.to_dict(), indent=2) + "\n"
        for name, content in (("accuracy.txt", text), ("accuracy.json", data)):
            write_to(out / name, partial(_write_text, content))
        write_to(out / "accuracy.png", lambda path: plot_study(study, path))


def _write_text(content: str, path: Path) -> None:
    path.write_text(content, encoding="utf-8")
