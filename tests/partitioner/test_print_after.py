"""Every pass that can be asked for prints its result, and only that one."""

import pytest

from models import abstract
from partitioner import Workload, partition


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("trace", "decode"),
        ("raise", "blocks.0.attention"),
        ("place", "blocks.0.attention.query  prefill on gpu, decode on gpu"),
        ("plan", "Predicted:"),
    ],
)
def test_the_result_of_a_pass_is_printed(name: str, part: str) -> None:
    printed: list[str] = []
    model = abstract("tiny")
    partition(model, "demo", Workload(1, 8, 4), "gpu-only", print_after=name, printer=printed.append)
    assert len(printed) == 1
    assert part in printed[0]
