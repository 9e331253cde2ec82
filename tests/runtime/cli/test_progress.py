"""Progress bars say what is done in the unit of their stage."""

import pytest
from rich.progress import Progress

from runtime.cli.progress import DoneColumn, GenerationProgress


@pytest.mark.parametrize(
    ("stage", "shown"),
    [("loading", "1.5/3.0 MB"), ("auto, batch 4: loading", "1.5/3.0 MB"), ("decode", "1500000/3000000")],
)
def test_what_is_done_has_its_unit(stage: str, shown: str) -> None:
    bars = Progress(disable=True)
    task = bars.add_task(stage, total=3_000_000, completed=1_500_000)
    assert DoneColumn().render(bars.tasks[task]).plain == shown


@pytest.mark.parametrize(("keep_done", "left"), [(True, ["a", "b"]), (False, ["b"])])
def test_bars_of_what_is_done_go_where_they_are_not_to_stay(keep_done: bool, left: list[str]) -> None:
    progress = GenerationProgress(keep_done=keep_done)
    for stage, done in (("a", 1), ("b", 1), ("a", 2)):
        progress(stage, done, 2)
    assert progress.stages == left
