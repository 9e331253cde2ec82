"""``instinfer demo``: the whole story in about a minute, on any machine."""

from __future__ import annotations

import time

import typer

from cost_models import HardwareSpec
from models import Transformer
from partitioner import Plan
from runtime.bench_report import BenchReport
from runtime.benchmark import bench
from runtime.cli.code_prompts import CODE_PROMPTS
from runtime.cli.given_model import SHIPPED, model_to_run, tokenizer_of
from runtime.cli.grid import Grid, plans_of_grid
from runtime.cli.progress import GenerationProgress
from runtime.cli.usage_table import usage_table

POLICIES = ("flexgen-ssd", "instinfer", "auto")
REPORTED = "instinfer"
BATCH_SIZE = 8
NEW_TOKENS = 48
_SHOWN = 3


def demo_command() -> None:
    """Plan the shipped model, generate text under three policies, and compare them."""
    start = time.perf_counter()
    hw = HardwareSpec.load("demo")
    model = model_to_run(SHIPPED)
    grid = Grid(POLICIES, [BATCH_SIZE])
    plans, _ = plans_of_grid(model, hw, grid, CODE_PROMPTS, max_new_tokens=NEW_TOKENS)
    typer.echo(_plan_of(REPORTED, plans).report())
    typer.echo(
        f"\nGenerating under {', '.join(POLICIES)}: every device waits as long as the emulated one would."
    )
    with GenerationProgress() as progress:
        report = bench(
            plans,
            model,
            CODE_PROMPTS,
            max_new_tokens=NEW_TOKENS,
            repeats=1,
            clock="wall",
            progress=progress,
        )
    _print_texts(report, model)
    typer.echo(f"\n{report.table()}")
    for row in report.rows:
        typer.echo(f"\nSeconds in use under {row.policy}\n{usage_table(row.predicted, row.measured)}")
    typer.echo(f"\n{time.perf_counter() - start:.0f} s in all")


def _plan_of(policy: str, plans: list[Plan]) -> Plan:
    return next(plan for plan in plans if plan.policy == policy)


def _print_texts(report: BenchReport, model: Transformer) -> None:
    """Prints the end of every prompt and what followed it, once for all policies that agree."""
    decode = tokenizer_of(model).decode
    by_tokens: dict[tuple[tuple[int, ...], ...], list[str]] = {}
    for row in report.rows:
        by_tokens.setdefault(row.tokens, []).append(row.policy)
    for tokens, policies in by_tokens.items():
        typer.echo(
            f"\nText under {', '.join(policies)} (the last lines of each prompt, then what was generated):"
        )
        for number, (prompt, new) in enumerate(zip(CODE_PROMPTS, tokens, strict=True), start=1):
            typer.echo(f"\n[{number}] {len(prompt)} characters, {len(new)} new")
            lines = prompt.splitlines()[-_SHOWN:]
            typer.echo("\n".join(f"    {line}" for line in lines))
            typer.echo("\n".join(f"  > {line}" for line in decode(new).splitlines()))
