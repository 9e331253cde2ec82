"""``instinfer presets``: the hardware descriptions that come with the package."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cost_models import HardwareSpec
from runtime.cli.options import Json

Name = Annotated[
    str | None, typer.Argument(help="A preset, or the path of a TOML file; all presets if left out.")
]


def presets_command(name: Name = None, as_json: Json = False) -> None:
    """List the hardware presets, or describe one."""
    if name is not None:
        hw = HardwareSpec.load(name)
        typer.echo(json.dumps(hw.to_dict(), indent=2) if as_json else hw.describe())
        return
    known = [HardwareSpec.load(preset) for preset in HardwareSpec.preset_names()]
    if as_json:
        typer.echo(json.dumps({hw.name: hw.description for hw in known}, indent=2))
        return
    width = max(len(hw.name) for hw in known)
    for hw in known:
        typer.echo(f"{hw.name:<{width}}  {hw.description}")
