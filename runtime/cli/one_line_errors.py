"""Prints what users got wrong as one line, with exit status 2 and no traceback."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from cost_models import CostModelError
from models import CheckpointError, ConfigError, EvaluationError
from partitioner.errors import PartitionError
from runtime.bench_errors import BenchError
from runtime.csd import DriveError
from runtime.errors import SessionError

EXIT_STATUS = 2


class ArgumentError(ValueError):
    """Says which argument of the command line cannot be used, and what would be."""


USER_ERRORS = (
    ArgumentError,
    BenchError,
    CheckpointError,
    ConfigError,
    CostModelError,
    DriveError,
    EvaluationError,
    PartitionError,
    SessionError,
)


class OneLineErrors(TyperGroup):
    """A group of commands whose users read ``Error: what was given, what is accepted``."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the chosen command.

        Raises:
            typer.Exit: With status 2, after an error of :data:`USER_ERRORS`.
        """
        try:
            return super().invoke(ctx)
        except USER_ERRORS as error:
            typer.echo(f"Error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(EXIT_STATUS) from None
