"""Work grows linearly with depth. Lines that run are counted, since times on a shared machine say little."""

from collections import Counter
from pathlib import Path

import pytest

import partitioner
from models import abstract
from partitioner import Workload, partition
from tests.line_counts import line_counts

PACKAGE = Path(partitioner.__file__).parent
WORKLOAD = Workload(batch_size=4, prompt_len=48, decode_len=16)
LAYERS = (4, 8, 16)
SLACK = 1.1
"""Of the growth from the first to the second depth; twice as many layers are added from the second to the third."""

LEAST = 200
"""Lines below which a file's growth is noise."""

SOLVER = ("placement/highs.py", "placement/relaxation.py", "placement/master.py", "placement/flow_status.py")
"""What runs once per program, per arc or per round of prices, whatever the depth."""


def partitioned(num_layers: int) -> Counter[str]:
    """Returns the lines that planning runs, on hardware on which every depth leads to the same decisions."""
    model = abstract("tiny", num_layers=num_layers)
    return line_counts(PACKAGE, lambda: partition(model, "a6000-csd", WORKLOAD, "instinfer"))


@pytest.fixture(scope="module")
def planned() -> list[Counter[str]]:
    return [partitioned(n) for n in LAYERS]


def growth(few: int, more: int, most: int) -> float:
    """Returns how much faster than linear the second step grew: 1 for linear work, 2 for quadratic."""
    return (most - more) / max(1, 2 * (more - few))


def test_work_grows_linearly_with_depth(planned: list[Counter[str]]) -> None:
    outside = [sum(n for name, n in c.items() if not name.startswith("placement/")) for c in planned]
    assert growth(*outside) <= SLACK


def test_no_file_grows_faster(planned: list[Counter[str]]) -> None:
    rows = {name: tuple(c[name] for c in planned) for name in planned[-1]}
    fast = {name: row for name, row in rows.items() if row[-1] > LEAST and growth(*row) > SLACK}
    assert not fast


def test_the_solver_does_not_see_the_depth(planned: list[Counter[str]]) -> None:
    counts = [sum(c[name] for name in SOLVER) for c in planned]
    assert max(counts) <= 1.2 * counts[0] + LEAST


def test_a_walk_of_all_layers_for_each_layer_would_be_told() -> None:
    def work(n: int) -> int:
        return line_counts(Path(__file__).parent, lambda: [None for _ in range(n) if all_of(n)]).total()

    assert growth(work(10), work(20), work(40)) > 1.5


def all_of(n: int) -> bool:
    total = 0
    for i in range(n):
        total += i
    return total >= 0
