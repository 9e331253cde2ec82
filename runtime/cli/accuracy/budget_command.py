"""``instinfer accuracy --sensitivities`` and ``--budget``."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from models import Transformer
from models.checkpoint.load import SENSITIVITIES, checkpoint_folder
from partitioner.accuracy.sensitivities import Sensitivities
from partitioner.errors import AccuracyError
from runtime.bench_table import align
from runtime.cli.accuracy.budget_check import check_choice
from runtime.cli.accuracy.measure import measure
from runtime.cli.accuracy.study import StudySize
from runtime.cli.accuracy.texts import Texts
from runtime.cli.progress import GenerationProgress
from runtime.cli.written_file import write_to


def sensitivities_file(model: str, out: Path | None) -> Path:
    """Returns where the losses of a model's layers are written: into a folder, or beside the checkpoint."""
    return (out or checkpoint_folder(model)) / SENSITIVITIES


def measure_to(model: Transformer, texts: Texts, size: StudySize, path: Path, as_json: bool) -> None:
    """Measures a model's layers, writes the file, and prints what it holds."""
    with GenerationProgress() as progress:
        found = measure(model, texts, size, progress)
    write_to(path, found.save)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else f"{_table(found)}\nwritten to {path}")


def check_budget_on(model: Transformer, texts: Texts, size: StudySize, budget: float, as_json: bool) -> None:
    """Chooses under a budget and prints what the choice costs on other text.

    Raises:
        AccuracyError: No losses were measured for the model.
    """
    if model.sensitivities is None:
        raise AccuracyError(
            "no losses of this model's layers were measured; write them with 'instinfer accuracy --sensitivities MODEL'"
        )
    measured = Sensitivities.load(model.sensitivities)
    with GenerationProgress() as progress:
        found = check_choice(model, measured, texts, budget, size, progress)
    typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else str(found))


def _table(found: Sensitivities) -> str:
    """Returns the losses of single layers, then those of combinations."""
    head = ("loss of one layer, %", *(f"1/{c:g}" for c in found.compressions))
    rows = [
        (f"layer {layer}", *(f"{100 * x:.3f} +- {100 * e:.3f}" for x, e in zip(row, errors, strict=True)))
        for layer, (row, errors) in enumerate(zip(found.losses, found.errors, strict=True))
    ]
    together = [
        (
            ", ".join("exact" if c is None else f"1/{c:g}" for c in joint.compressions),
            f"{100 * joint.summed:.3f}",
            f"{100 * joint.measured:.3f} +- {100 * joint.error:.3f}",
        )
        for joint in found.joint
    ]
    lines = [*align([head, *rows]), "", *align([("layers together", "sum, %", "measured, %"), *together])]
    return "\n".join([*lines, f"sums are raised by {found.joint_scale:.3f}"])
