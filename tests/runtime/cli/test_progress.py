"""Progress bars say what is done in the unit of their stage."""

import pytest
from rich.progress import Progress

from runtime.cli.progress import DoneColumn


@pytest.mark.parametrize(("stage", "shown"), [("loading", "1.5/3.0 MB"), ("decode", "1500000/3000000")])
def test_what_is_done_has_its_unit(stage: str, shown: str) -> None:
    bars = Progress(disable=True)
    task = bars.add_task(stage, total=3_000_000, completed=1_500_000)
    assert DoneColumn().render(bars.tasks[task]).plain == shown
