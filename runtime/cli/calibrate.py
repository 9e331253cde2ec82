"""``instinfer calibrate``: fits parameters of the cost model to this machine, or to published figures."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from cost_models import HardwareSpec, SoftwareSpec
from runtime.cli.calibration.command import calibrate_machine
from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.options import Json
from runtime.cli.progress import GenerationProgress
from runtime.cli.reproduce.fit import Fit, fit_software
from runtime.cli.reproduce.preset_files import NAMES, rounded, write_presets
from runtime.cli.reproduce.published import PUBLISHED_FIGURES
from runtime.cli.reproduce.results import Result, ratios
from runtime.cli.reproduce.testbed import Testbed
from runtime.cli.reproduce.text import results_table

Paper = Annotated[
    bool,
    typer.Option(
        "--paper", help="Fit the software of the presets paper-... to InstInfer's published figures."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the values and write no preset.")]
Out = Annotated[
    Path | None, typer.Option("--out", help="Write the description of this machine to this TOML file.")
]
DrivesOf = Annotated[
    str | None,
    typer.Option(
        "--drives-of",
        help="Preset or TOML file: describe this machine with its drives, and measure what emulating them takes.",
    ),
]


def calibrate_command(
    paper: Paper = False,
    dry_run: DryRun = False,
    out: Out = None,
    drives_of: DrivesOf = None,
    as_json: Json = False,
) -> None:
    """Measure this machine and describe it as hardware; with --paper, fit parameters to published figures instead.

    What is left of error is printed: per figure, or per decode step that is run with nothing slowed down.
    """
    if not paper:
        if dry_run:
            raise ArgumentError("--dry-run is of --paper; to write no file, leave out --out")
        calibrate_machine(out, as_json, drives_of)
        return
    if drives_of is not None:
        raise ArgumentError(
            "--drives-of is for the measured machine; --paper has the drives of the published testbed"
        )
    if out is not None:
        raise ArgumentError("--out is for the measured machine; --paper writes to the presets it fits")
    start = HardwareSpec.load(NAMES[0]).software
    assert start is not None
    with GenerationProgress() as progress:
        fit = fit_software(start, progress)
        software = rounded(fit.software)
        bed = Testbed(software)
        ours = ratios(bed.of)
    found = tuple(Result(figure, ours[figure.id]) for figure in PUBLISHED_FIGURES if figure.id in ours)
    typer.echo(json.dumps(_data(fit, software, found), indent=2) if as_json else _text(fit, software, found))
    if not dry_run:
        write_presets(software)


def _data(fit: Fit, software: SoftwareSpec, found: tuple[Result, ...]) -> dict[str, object]:
    residuals = [result.to_dict() for result in found]
    return {"software": dataclasses.asdict(software), "losses": list(fit.losses), "residuals": residuals}


def _text(fit: Fit, software: SoftwareSpec, found: tuple[Result, ...]) -> str:
    values = [f"{name} = {value:.4g}" for name, value in dataclasses.asdict(software).items()]
    losses = ", ".join(f"{loss:.3g}" for loss in fit.losses)
    return "\n".join(
        [
            "[software]",
            *values,
            "",
            f"Mean squared relative error by round: {losses}",
            "",
            *results_table(found),
        ]
    )
