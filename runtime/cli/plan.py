"""``instinfer plan``: where everything runs and lives, and why; or how that changes over a range."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from partitioner import Workload, partition
from partitioner.objective import TOKENS_PER_SECOND, objective_named
from runtime.cli.given_hardware import hardware
from runtime.cli.given_model import model_to_plan
from runtime.cli.given_policies import policy_names
from runtime.cli.given_sparsity import sparsity
from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.options import Budget, Drives, Gpus, Hardware, Json, Model, Objective, Policy, Sparse
from runtime.cli.progress import GenerationProgress
from runtime.cli.simulated_table import simulated_data, simulated_table
from runtime.cli.sweep.axis import parse_axis
from runtime.cli.sweep.points import sweep
from runtime.cli.sweep.table import sweep_table
from runtime.cli.written_file import PLOT_FORMATS, check_output, write_to
from runtime.simulation.simulate import simulate

Batch = Annotated[int, typer.Option("--batch", min=1, help="Sequences generated together.")]
PromptLen = Annotated[int, typer.Option("--prompt-len", min=1, help="Tokens of the longest prompt.")]
DecodeLen = Annotated[int, typer.Option("--decode-len", min=1, help="New tokens per sequence.")]
Save = Annotated[Path | None, typer.Option("--save", help="Write the plan to this JSON file.")]
Simulate = Annotated[
    bool,
    typer.Option(
        "--simulate", help="Simulate the whole generation, too, and print it beside the prediction."
    ),
]
PrintAfter = Annotated[
    str | None, typer.Option("--print-after", help="Print what a pass made: trace, raise, place or plan.")
]
SweepOption = Annotated[
    str | None,
    typer.Option(
        "--sweep",
        help="Plan for each of several values and print a table: drives=1,2,4, batch=.., prompt-len=.., decode-len=.., "
        "context=.. (prompt and new tokens together; at most half of them new), or any number of the hardware, such as "
        "host.memory_bytes=64G,128G. k, M, G are powers of 1000, Ki, Mi, Gi of 1024.",
    ),
]
Policies = Annotated[
    list[str] | None, typer.Option("--policies", help="With --sweep: policies, separated by commas.")
]
Plot = Annotated[
    Path | None, typer.Option("--plot", help="With --sweep: write a figure to this file (.png, .svg, .pdf).")
]


def plan_command(
    model: Model,
    hw: Hardware = "a6000-csd",
    drives: Drives = None,
    gpus: Gpus = None,
    batch: Batch = 1,
    prompt_len: PromptLen = 512,
    decode_len: DecodeLen = 128,
    sparse: Sparse = None,
    accuracy_budget: Budget = None,
    policy: Policy = "auto",
    objective: Objective = TOKENS_PER_SECOND,
    as_json: Json = False,
    save: Save = None,
    print_after: PrintAfter = None,
    simulated: Simulate = False,
    swept: SweepOption = None,
    policies: Policies = None,
    plot: Plot = None,
) -> None:
    """Plan a model on a system and print the placement report. No weights are needed."""
    check_output(save)
    check_output(plot, PLOT_FORMATS)
    workload = Workload(
        batch_size=batch, prompt_len=prompt_len, decode_len=decode_len, sparsity=sparsity(sparse)
    )
    system = hardware(hw, drives, gpus)
    if swept is not None:
        if save is not None or print_after is not None or simulated:
            raise ArgumentError("--sweep makes many plans; leave out --save, --print-after and --simulate")
        if accuracy_budget is not None:
            raise ArgumentError(
                "--sweep varies one thing of plans without a budget; leave out --accuracy-budget"
            )
        axis = parse_axis(swept, system)
        objective_named(objective, axis.at(axis.values[0], system, workload)[0])
        names = policy_names(policies or [policy])
        shapes = model_to_plan(model)
        with GenerationProgress() as progress:
            found = sweep(shapes, system, workload, axis, names, progress, objective)
        typer.echo(json.dumps(found.to_dict(), indent=2) if as_json else sweep_table(found))
        if plot is not None:
            from runtime.cli.sweep.plot import plot_sweep

            write_to(plot, lambda path: plot_sweep(found, path))
        return
    if policies or plot is not None:
        raise ArgumentError("--policies and --plot belong to --sweep; give it, such as --sweep drives=1,2,4")
    plan = partition(
        model_to_plan(model),
        system,
        workload,
        policy,
        objective=objective,
        accuracy_budget=accuracy_budget,
        print_after=print_after,
        printer=typer.echo,
    )
    run = simulate(plan) if simulated else None
    if as_json:
        typer.echo(json.dumps(plan.to_dict() if run is None else simulated_data(plan, run), indent=2))
    else:
        typer.echo(plan.report())
        if run is not None:
            typer.echo(f"\n{simulated_table(plan, run)}")
    if save is not None:
        write_to(save, plan.save)
