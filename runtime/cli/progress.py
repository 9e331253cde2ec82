"""Progress bars of a generation, on standard error."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

STAGES_IN_BYTES = {"loading"}
"""Stages that a session reports in bytes; others are counted."""


class DoneColumn(ProgressColumn):
    """Says how much of a stage is done, in bytes or counts, whichever the stage is reported in."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes, self._counts = DownloadColumn(), MofNCompleteColumn()

    def render(self, task: Task) -> Text:
        """Returns what is done and what there is to do."""
        stage = task.description.rpartition(": ")[2]
        return (self._bytes if stage in STAGES_IN_BYTES else self._counts).render(task)


class GenerationProgress:
    """Shows one bar per stage (loading, compiling, prefill, decode); silent where nobody watches.

    Called as ``progress(stage, done, total)``, the form in which a session reports.

    Args:
        keep_done: Whether bars of stages that are done stay.
    """

    def __init__(self, *, keep_done: bool = True) -> None:
        self._keep_done = keep_done
        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<32}"),
            BarColumn(bar_width=40),
            DoneColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}

    @property
    def stages(self) -> list[str]:
        """Returns the stages whose bars are shown."""
        return list(self._tasks)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Moves a stage's bar, which appears with its first report."""
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._tasks[stage], completed=done, total=total)
        if done >= total and not self._keep_done:
            self._bars.remove_task(self._tasks.pop(stage))
