"""``instinfer run``: text in, text out, with measured beside predicted speed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from partitioner import Plan, Workload, partition
from runtime import Sampling, Session
from runtime.bench_prediction import Prediction, predict_generation
from runtime.bench_table import align
from runtime.bench_usage import measured_usage
from runtime.cli.given_hardware import hardware
from runtime.cli.given_model import model_to_run, tokenizer_of
from runtime.cli.given_prompts import read_prompts
from runtime.cli.given_requests import read_requests
from runtime.cli.given_sparsity import sparsity
from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.options import (
    Budget,
    Clock,
    ClockName,
    DriveFolder,
    Drives,
    Gpus,
    Hardware,
    Json,
    MaxNewTokens,
    Model,
    NumSlots,
    Policy,
    PromptFile,
    Prompts,
    RequestFile,
    Seed,
    Sparse,
    Stream,
    Temperature,
    TopK,
    TopP,
)
from runtime.cli.progress import GenerationProgress
from runtime.cli.serve_requests import num_slots, serve_requests
from runtime.cli.stream_text import stream_text
from runtime.cli.usage_table import usage_table
from runtime.result import GenerationResult

SavedPlan = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        help="Run this saved plan instead of making one; --hw, --policy, --sparsity and --accuracy-budget are its.",
    ),
]


def run_command(
    model: Model = "tiny",
    hw: Hardware = "demo",
    drives: Drives = None,
    gpus: Gpus = None,
    policy: Policy = "auto",
    prompt: Prompts = None,
    prompt_file: PromptFile = None,
    requests: RequestFile = None,
    slots: NumSlots = None,
    max_new_tokens: MaxNewTokens = 64,
    temperature: Temperature = 0.0,
    top_k: TopK = None,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    stream: Stream = False,
    sparse: Sparse = None,
    accuracy_budget: Budget = None,
    clock: Clock = ClockName.WALL,
    plan: SavedPlan = None,
    drive_folder: DriveFolder = None,
    as_json: Json = False,
) -> None:
    """Generate text for one prompt or a batch of them, or serve a file of requests."""
    sampling = Sampling(temperature, top_k, top_p, seed)
    if requests is not None and (prompt or prompt_file or stream):
        raise ArgumentError("--requests goes without --prompt, --prompt-file and --stream; give one of them")
    if slots is not None and requests is None:
        raise ArgumentError("--slots is of --requests; give a file of requests, or leave it out")
    if stream and as_json:
        raise ArgumentError("--stream prints text as it comes; leave out --json")
    given = None if requests is None else read_requests(requests, max_new_tokens, sampling)
    prompts = read_prompts(prompt, prompt_file) if given is None else [str(r.prompt) for r in given]
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
            rows = len(prompts) if given is None else num_slots(given, slots)
            most = max_new_tokens if given is None else max(r.max_new_tokens for r in given)
            workload = Workload(rows, max(lengths), most, wanted)
            chosen = partition(
                loaded, hardware(hw, drives, gpus), workload, policy, accuracy_budget=accuracy_budget
            )
        progress("planning", 1, 1)
        with Session(
            chosen, loaded, clock=clock.value, progress=progress, drive_folder=drive_folder
        ) as session:
            if given is not None:
                serve_requests(session, chosen, given, as_json=as_json)
                return
            if stream:
                stream_text(session, prompts, max_new_tokens, sampling)
                return
            result = session.generate(prompts, max_new_tokens=max_new_tokens, sampling=sampling)
    prediction = predict_generation(chosen, lengths, max_new_tokens)
    if as_json:
        typer.echo(json.dumps(_as_dict(chosen, prompts, result, prediction), indent=2))
        return
    for number, (asked, text) in enumerate(zip(prompts, result.texts or (), strict=True)):
        typer.echo(f"--- prompt {number}\n{asked}{text}")
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
