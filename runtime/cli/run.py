"""``instinfer run``: text in, text out, with measured beside predicted speed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from partitioner import Plan, Workload, partition
from runtime import Session
from runtime.bench_usage import measured_usage, predicted_usage
from runtime.cli.given_hardware import hardware
from runtime.cli.given_model import model_to_run, tokenizer_of
from runtime.cli.given_prompts import read_prompts
from runtime.cli.options import (
    Clock,
    ClockName,
    Drives,
    Hardware,
    Json,
    MaxNewTokens,
    Model,
    Policy,
    PromptFile,
    Prompts,
)
from runtime.cli.progress import GenerationProgress
from runtime.cli.usage_table import usage_table

SavedPlan = Annotated[
    Path | None,
    typer.Option("--plan", help="Run this saved plan instead of making one; --hw and --policy are its."),
]


def run_command(
    model: Model = "tiny",
    hw: Hardware = "demo",
    drives: Drives = None,
    policy: Policy = "auto",
    prompt: Prompts = None,
    prompt_file: PromptFile = None,
    max_new_tokens: MaxNewTokens = 64,
    clock: Clock = ClockName.WALL,
    plan: SavedPlan = None,
    as_json: Json = False,
) -> None:
    """Generate text for one prompt or a batch of them."""
    prompts = read_prompts(prompt, prompt_file)
    with GenerationProgress() as progress:
        progress("load", 0, 1)
        loaded = model_to_run(model)
        progress("load", 1, 1)
        progress("plan", 0, 1)
        if plan is not None:
            chosen = Plan.load(plan, loaded)
        else:
            longest = max(map(len, map(tokenizer_of(loaded).encode, prompts)))
            workload = Workload(len(prompts), longest, max_new_tokens)
            chosen = partition(loaded, hardware(hw, drives), workload, policy)
        progress("plan", 1, 1)
        with Session(chosen, loaded, clock=clock.value, progress=progress) as session:
            result = session.generate(prompts, max_new_tokens=max_new_tokens)
    if as_json:
        typer.echo(json.dumps(_as_dict(chosen, prompts, result), indent=2))
        return
    for number, (given, text) in enumerate(zip(prompts, result.texts, strict=True)):
        typer.echo(f"--- prompt {number}\n{given}{text}")
    typer.echo(f"---\n{_summary(chosen, result, clock)}")


def _summary(plan: Plan, result: Any, clock: ClockName) -> str:
    """Returns speed and use of resources, predicted and measured."""
    return "\n".join(
        (
            f"{plan.policy} on {plan.hw.name}, {clock.value} clock, fidelity {result.fidelity:.3f}",
            f"tokens/s   measured {result.tokens_per_second:.1f}   predicted {plan.tokens_per_second:.1f}",
            f"prefill s  measured {result.prefill_s:.3f}   predicted {plan.prefill_seconds:.3f}",
            f"decode s   measured {result.decode_s:.3f}   predicted {plan.total_decode_seconds:.3f}",
            "",
            usage_table(predicted_usage(plan), measured_usage(result.timeline)),
        )
    )


def _as_dict(plan: Plan, prompts: list[str], result: Any) -> dict[str, Any]:
    """Returns what the command prints as plain data."""
    return {
        "policy": plan.policy,
        "hardware": plan.hw.name,
        "prompts": prompts,
        "texts": list(result.texts),
        "tokens": [[int(token) for token in row] for row in result.tokens],
        "fidelity": result.fidelity,
        "measured": {
            "tokens_per_second": result.tokens_per_second,
            "prefill_s": result.prefill_s,
            "decode_s": result.decode_s,
            **measured_usage(result.timeline).to_dict(),
        },
        "predicted": {
            "tokens_per_second": plan.tokens_per_second,
            "prefill_s": plan.prefill_seconds,
            "decode_s": plan.total_decode_seconds,
            **predicted_usage(plan).to_dict(),
        },
    }
