"""The arguments that several commands share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Argument(
        help="The shipped model 'tiny', a checkpoint folder, or, to plan only, a known name such as opt-13b."
    ),
]
Hardware = Annotated[
    str, typer.Option("--hw", help="A preset (see 'instinfer presets') or the path of a TOML file.")
]
Drives = Annotated[
    int | None, typer.Option("--drives", min=1, help="Number of drives, where other than the preset's.")
]
Gpus = Annotated[
    int | None, typer.Option("--gpus", min=1, help="Number of equal GPUs, where other than the preset's.")
]
Policy = Annotated[str, typer.Option("--policy", help="auto, or the policy of a published system.")]
Objective = Annotated[
    str,
    typer.Option(
        "--objective",
        help="What to be the best at: tokens-per-second, latency (time of a decode step), dollar or joule (per token).",
    ),
]
Sparse = Annotated[
    str | None,
    typer.Option(
        "--sparsity",
        help="Let drives attend sparsely (SparF): a ratio such as 1/8, or channels and tokens as r=16,k=128. GPU and host "
        "attend exactly.",
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(
        "--accuracy-budget",
        help="Share of exact attention's bits per token that may be lost, such as 0.01: drives attend as sparsely as that "
        "allows.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
MaxNewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="New tokens per prompt.")]


class ClockName(StrEnum):
    """How the emulated devices pass their time."""

    WALL = "wall"
    VIRTUAL = "virtual"


Clock = Annotated[
    ClockName, typer.Option("--clock", help="wall: devices wait for real; virtual: time is only counted.")
]
DriveFolder = Annotated[
    Path | None,
    typer.Option(
        "--drive-folder",
        exists=True,
        file_okay=False,
        writable=True,
        help="Let the emulated drives keep their pages in files in this folder, instead of memory.",
    ),
]
Prompts = Annotated[
    list[str] | None, typer.Option("--prompt", help="A prompt; repeat the option for a batch.")
]
PromptFile = Annotated[
    Path | None,
    typer.Option("--prompt-file", help="A text file with one prompt, or a JSON file with a list of them."),
]
Temperature = Annotated[
    float, typer.Option("--temperature", help="0: always the likeliest token; 1: draw by probability.")
]
TopK = Annotated[int | None, typer.Option("--top-k", help="Draw from the likeliest tokens alone, that many.")]
TopP = Annotated[
    float,
    typer.Option("--top-p", help="Draw from the likeliest tokens alone that together are that probable."),
]
Seed = Annotated[int, typer.Option("--seed", help="Of the draws.")]
Stream = Annotated[
    bool, typer.Option("--stream", help="Print text as it comes, up to the model's end of sequence.")
]
RequestFile = Annotated[
    Path | None,
    typer.Option(
        "--requests",
        help="Serve the requests of this file: a JSON object a line, with prompt and, where they differ, max_new_tokens, "
        "temperature, top_k, top_p, seed, eos.",
    ),
]
NumSlots = Annotated[
    int | None, typer.Option("--slots", min=1, help="Requests served at the same time; by default up to 8.")
]
