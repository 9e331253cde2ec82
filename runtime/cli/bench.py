"""``instinfer bench``: policies and batch sizes, predicted beside measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from runtime.benchmark import bench
from runtime.cli.code_prompts import CODE_PROMPTS
from runtime.cli.given_hardware import hardware
from runtime.cli.given_model import model_to_run
from runtime.cli.given_policies import policy_names
from runtime.cli.given_prompts import read_prompts
from runtime.cli.given_sparsity import sparsity
from runtime.cli.grid import Grid, plans_of_grid
from runtime.cli.options import (
    Clock,
    ClockName,
    DriveFolder,
    Hardware,
    Json,
    MaxNewTokens,
    Model,
    PromptFile,
    Prompts,
    Sparse,
)
from runtime.cli.progress import GenerationProgress
from runtime.cli.prompt_windows import prompts_of_length
from runtime.cli.whole_numbers import whole_numbers
from runtime.cli.written_file import PLOT_FORMATS, check_output, write_to

Policies = Annotated[str, typer.Option("--policies", help="Policies, separated by commas.")]
Batches = Annotated[str, typer.Option("--batches", help="Batch sizes, separated by commas.")]
Contexts = Annotated[
    str | None,
    typer.Option(
        "--contexts",
        help="Tokens of a prompt, separated by commas: every prompt is a window of the given text, that long.",
    ),
]
DriveCounts = Annotated[
    str | None,
    typer.Option("--drives", help="Numbers of drives, separated by commas; by default the preset's."),
]
Slower = Annotated[
    float,
    typer.Option("--slower", min=1e-3, help="Slow the hardware down by this factor; below 1, speed it up."),
]
SavedReport = Annotated[Path | None, typer.Option("--save", help="Write the results to this JSON file.")]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Runs of each; the table has the median.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Write a figure to this file (.png, .svg, .pdf).")]


def bench_command(
    model: Model = "tiny",
    hw: Hardware = "demo",
    slower: Slower = 1.0,
    drives: DriveCounts = None,
    policies: Policies = "flexgen-ssd,instinfer,auto",
    batches: Batches = "1,2,4",
    contexts: Contexts = None,
    prompt: Prompts = None,
    prompt_file: PromptFile = None,
    max_new_tokens: MaxNewTokens = 32,
    sparse: Sparse = None,
    repeats: Repeats = 3,
    clock: Clock = ClockName.WALL,
    drive_folder: DriveFolder = None,
    as_json: Json = False,
    plot: Plot = None,
    save: SavedReport = None,
) -> None:
    """Run a model under several policies and compare speed, time and bytes with the prediction.

    With several batch sizes, contexts or numbers of drives, every combination is run. Combinations that do not fit are left
    out of a grid, and named.
    """
    names = policy_names([policies])
    sizes = whole_numbers("--batches", batches)
    lengths = None if contexts is None else whole_numbers("--contexts", contexts)
    counts = None if drives is None else whole_numbers("--drives", drives)
    wanted = sparsity(sparse)
    check_output(plot, PLOT_FORMATS)
    check_output(save, (".json",))
    prompts = read_prompts(prompt, prompt_file) if prompt or prompt_file else list(CODE_PROMPTS)
    system = hardware(hw, None).slowed(slower)
    loaded = model_to_run(model)
    grid = Grid(names, sizes, lengths, counts)
    with GenerationProgress(keep_done=False) as progress:
        plans, left_out = plans_of_grid(
            loaded, system, grid, prompts, max_new_tokens=max_new_tokens, sparsity=wanted, progress=progress
        )
        report = bench(
            plans,
            loaded,
            prompts if lengths is None else prompts_of_length(loaded, prompts),
            max_new_tokens=max_new_tokens,
            repeats=repeats,
            clock=clock.value,
            progress=progress,
            drive_folder=drive_folder,
        )
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())
    for sentence in left_out:
        typer.echo(f"left out: {sentence}", err=True)
    if plot is not None:
        write_to(plot, report.plot)
    if save is not None:
        write_to(save, report.save)
