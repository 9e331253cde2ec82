"""Points are predicted alike in this process and in others."""

from runtime.cli.reproduce.cell import FLEXGEN, INSTA_SPARF, Cell
from runtime.cli.reproduce.testbed import Testbed

CELLS = (Cell(INSTA_SPARF, 4), Cell(FLEXGEN, 4), Cell(FLEXGEN, 256))


def test_processes_change_nothing_but_time() -> None:
    told: list[tuple[str, int, int]] = []
    here, spread = Testbed(), Testbed()
    here.predict_all(CELLS)
    spread.predict_all(CELLS, lambda *now: told.append(now), processes=2)
    assert spread.found == here.found
    assert isinstance(here.found[CELLS[2]], str)
    assert (told[0], told[-1]) == (("planning", 0, 3), ("planning", 3, 3))
    told.clear()
    spread.predict_all(CELLS, lambda *now: told.append(now), processes=2)
    assert told == [("planning", 0, 0)]
