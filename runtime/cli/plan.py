"""``instinfer plan``: where everything runs and lives, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from partitioner import Workload, partition
from runtime.cli.given_hardware import hardware
from runtime.cli.given_model import model_to_plan
from runtime.cli.options import Drives, Hardware, Json, Model, Policy
from runtime.cli.written_file import check_output, write_to

Batch = Annotated[int, typer.Option("--batch", min=1, help="Sequences generated together.")]
PromptLen = Annotated[int, typer.Option("--prompt-len", min=1, help="Tokens of the longest prompt.")]
DecodeLen = Annotated[int, typer.Option("--decode-len", min=1, help="New tokens per sequence.")]
Save = Annotated[Path | None, typer.Option("--save", help="Write the plan to this JSON file.")]
PrintAfter = Annotated[
    str | None, typer.Option("--print-after", help="Print what a pass made: trace, raise, place or plan.")
]


def plan_command(
    model: Model,
    hw: Hardware = "a6000-csd",
    drives: Drives = None,
    batch: Batch = 1,
    prompt_len: PromptLen = 512,
    decode_len: DecodeLen = 128,
    policy: Policy = "auto",
    as_json: Json = False,
    save: Save = None,
    print_after: PrintAfter = None,
) -> None:
    """Plan a model on a system and print the placement report. No weights are needed."""
    check_output(save)
    workload = Workload(batch_size=batch, prompt_len=prompt_len, decode_len=decode_len)
    plan = partition(
        model_to_plan(model),
        hardware(hw, drives),
        workload,
        policy,
        print_after=print_after,
        printer=typer.echo,
    )
    typer.echo(json.dumps(plan.to_dict(), indent=2) if as_json else plan.report())
    if save is not None:
        write_to(save, plan.save)
