"""The command line's entry point."""

from __future__ import annotations

import typer

from runtime.cli.accuracy.command import accuracy_command
from runtime.cli.bench import bench_command
from runtime.cli.calibrate import calibrate_command
from runtime.cli.demo import demo_command
from runtime.cli.one_line_errors import OneLineErrors
from runtime.cli.plan import plan_command
from runtime.cli.presets import presets_command
from runtime.cli.reproduce.command import reproduce_command
from runtime.cli.run import run_command

app = typer.Typer(
    name="instinfer",
    help="Plans and runs Flax transformers over GPU, host and computational storage drives.",
    cls=OneLineErrors,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("plan")(plan_command)
app.command("run")(run_command)
app.command("bench")(bench_command)
app.command("accuracy")(accuracy_command)
app.command("presets")(presets_command)
app.command("demo")(demo_command)
app.command("reproduce")(reproduce_command)
app.command("calibrate")(calibrate_command)


def main() -> None:
    """Runs the command line."""
    app()
