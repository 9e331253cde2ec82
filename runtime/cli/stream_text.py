"""Prints text as it comes."""

from __future__ import annotations

from collections.abc import Sequence

import typer

from runtime import Sampling, Session


def stream_text(session: Session, prompts: Sequence[str], max_new_tokens: int, sampling: Sampling) -> None:
    """Prints new text of prompts piece by piece: one prompt's as it is, several line by line behind their numbers."""
    if len(prompts) == 1:
        typer.echo(prompts[0], nl=False)
    lines = list(prompts)
    for piece in session.stream(prompts, max_new_tokens, sampling=sampling):
        if len(prompts) == 1:
            typer.echo(piece.text, nl=False)
            continue
        *whole, lines[piece.row] = (lines[piece.row] + piece.text).split("\n")
        for line in whole:
            typer.echo(f"[{piece.row}] {line}")
    if len(prompts) == 1:
        typer.echo("")
        return
    for row, line in enumerate(lines):
        typer.echo(f"[{row}] {line}")
