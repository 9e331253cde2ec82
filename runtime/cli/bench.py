"""``instinfer bench``: policies and batch sizes, predicted beside measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from runtime.benchmark import bench
from runtime.cli.code_prompts import CODE_PROMPTS
from runtime.cli.comparison import plans_to_compare
from runtime.cli.given_hardware import hardware
from runtime.cli.given_model import model_to_run
from runtime.cli.given_prompts import read_prompts
from runtime.cli.given_sparsity import sparsity
from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.options import (
    Clock,
    ClockName,
    DriveFolder,
    Drives,
    Hardware,
    Json,
    MaxNewTokens,
    Model,
    PromptFile,
    Prompts,
    Sparse,
)
from runtime.cli.progress import GenerationProgress
from runtime.cli.written_file import PLOT_FORMATS, check_output, write_to

Policies = Annotated[str, typer.Option("--policies", help="Policies, separated by commas.")]
Batches = Annotated[str, typer.Option("--batches", help="Batch sizes, separated by commas.")]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Runs of each; the table has the median.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Write a figure to this file (.png, .svg, .pdf).")]


def bench_command(
    model: Model = "tiny",
    hw: Hardware = "demo",
    drives: Drives = None,
    policies: Policies = "flexgen-ssd,instinfer,auto",
    batches: Batches = "1,2,4",
    prompt: Prompts = None,
    prompt_file: PromptFile = None,
    max_new_tokens: MaxNewTokens = 32,
    sparse: Sparse = None,
    repeats: Repeats = 3,
    clock: Clock = ClockName.WALL,
    drive_folder: DriveFolder = None,
    as_json: Json = False,
    plot: Plot = None,
) -> None:
    """Run a model under several policies and compare speed, time and bytes with the prediction."""
    names = [name.strip() for name in policies.split(",") if name.strip()]
    sizes = _batch_sizes(batches)
    wanted = sparsity(sparse)
    check_output(plot, PLOT_FORMATS)
    prompts = read_prompts(prompt, prompt_file) if prompt or prompt_file else list(CODE_PROMPTS)
    if not names:
        raise ArgumentError(
            "--policies names no policy; give names separated by commas, such as auto,instinfer"
        )
    system = hardware(hw, drives)
    loaded = model_to_run(model)
    with GenerationProgress() as progress:
        plans = plans_to_compare(
            loaded,
            system,
            policies=names,
            batches=sizes,
            prompts=prompts,
            max_new_tokens=max_new_tokens,
            sparsity=wanted,
        )
        report = bench(
            plans,
            loaded,
            prompts,
            max_new_tokens=max_new_tokens,
            repeats=repeats,
            clock=clock.value,
            progress=progress,
            drive_folder=drive_folder,
        )
    typer.echo(json.dumps(report.to_dict(), indent=2) if as_json else report.table())
    if plot is not None:
        write_to(plot, report.plot)


def _batch_sizes(text: str) -> list[int]:
    """Returns the numbers in a text such as ``1,2,4``.

    Raises:
        ArgumentError: If it holds anything but numbers of at least 1.
    """
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise ArgumentError(
            f"--batches must be whole numbers of at least 1 separated by commas, got {text!r}"
        )
    return sizes
