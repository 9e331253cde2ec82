"""``instinfer run``: text in, text out, with measured beside predicted speed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from partitioner import Plan, Workload, partition
from runtime import Session
from runtime.bench_prediction import Prediction, predict_generation
from runtime.bench_table import align
from runtime.bench_usage import measured_usage
from runtime.cli.given_hardware import hardware
from runtime.cli.given_model import model_to_run, tokenizer_of
from runtime.cli.given_prompts import read_prompts
from runtime.cli.given_sparsity import sparsity
from runtime.cli.options import (
    Clock,
    ClockName,
    DriveFolder,
    Drives,
    Hardware,
    Json,
    MaxNewTokens,
    Model,
    Policy,
    PromptFile,
    Prompts,
    Sparse,
)
from runtime.cli.progress import GenerationProgress
from runtime.cli.usage_table import usage_table
from runtime.result import GenerationResult

SavedPlan = Annotated[
    Path | None,
    typer.Option(
        "--plan", help="Run this saved plan instead of making one; --hw, --policy and --sparsity are its."
    ),
]


def run_command(
    model: Model = "tiny",
    hw: Hardware = "demo",
    drives: Drives = None,
    policy: Policy = "auto",
    prompt: Prompts = None,
    prompt_file: PromptFile = None,
    max_new_tokens: MaxNewTokens = 64,
    sparse: Sparse = None,
    clock: Clock = ClockName.WALL,
    plan: SavedPlan = None,
    drive_folder: DriveFolder = None,
    as_json: Json = False,
) -> None:
    """Generate text for one prompt or a batch of them."""
    prompts = read_prompts(prompt, prompt_file)
    wanted = sparsity(sparse)
    with GenerationProgress() as progress:
        progress("reading the model", 0, 1)
        loaded = model_to_run(model, lazy=True)
        progress("reading the model", 1, 1)
        progress("planning", 0, 1)
        lengths = [len(tokens) for tokens in map(tokenizer_of(loaded).encode, prompts)]
        if plan is not None:
            chosen = Plan.load(plan, loaded)
        else:
            workload = Workload(len(prompts), max(lengths), max_new_tokens, wanted)
            chosen = partition(loaded, hardware(hw, drives), workload, policy)
        progress("planning", 1, 1)
        with Session(
            chosen, loaded, clock=clock.value, progress=progress, drive_folder=drive_folder
        ) as session:
            result = session.generate(prompts, max_new_tokens=max_new_tokens)
    prediction = predict_generation(chosen, lengths, max_new_tokens)
    if as_json:
        typer.echo(json.dumps(_as_dict(chosen, prompts, result, prediction), indent=2))
        return
    for number, (given, text) in enumerate(zip(prompts, result.texts or (), strict=True)):
        typer.echo(f"--- prompt {number}\n{given}{text}")
    typer.echo(f"---\n{_summary(chosen, result, prediction, clock)}")


def _summary(plan: Plan, result: GenerationResult, prediction: Prediction, clock: ClockName) -> str:
    """Returns speed and use of resources, predicted and measured."""
    return "\n".join(
        (
            f"{plan.policy} on {plan.hw.name}, {clock.value} clock, fidelity {result.fidelity:.3f}",
            *align(
                [
                    ("", "predicted", "measured"),
                    ("tokens/s", f"{prediction.tokens_per_second:.1f}", f"{result.tokens_per_second:.1f}"),
                    ("prefill s", f"{prediction.prefill_s:.3f}", f"{result.prefill_s:.3f}"),
                    ("decode s", f"{prediction.decode_s:.3f}", f"{result.decode_s:.3f}"),
                ]
            ),
            "",
            usage_table(prediction.usage, measured_usage(result.timeline)),
            *(f"\n{recovery}" for recovery in result.recoveries),
        )
    )


def _as_dict(
    plan: Plan, prompts: list[str], result: GenerationResult, prediction: Prediction
) -> dict[str, Any]:
    """Returns what the command prints as plain data."""
    return {
        "policy": plan.policy,
        "hardware": plan.hw.name,
        "prompts": prompts,
        "texts": result.texts,
        "tokens": result.tokens,
        "fidelity": result.fidelity,
        "recoveries": [asdict(recovery) for recovery in result.recoveries],
        "measured": {
            "tokens_per_second": result.tokens_per_second,
            "prefill_s": result.prefill_s,
            "decode_s": result.decode_s,
            **measured_usage(result.timeline).to_dict(),
        },
        "predicted": {
            "tokens_per_second": prediction.tokens_per_second,
            "prefill_s": prediction.prefill_s,
            "decode_s": prediction.decode_s,
            **prediction.usage.to_dict(),
        },
    }
