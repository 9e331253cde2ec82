"""A grid's cells survive the file, and what is known is not planned again."""

import argparse
import math
from pathlib import Path

from benchmarks.placement_grid import summary, tasks
from benchmarks.planned_cells import Cell, read, worse, write

PLANNED = Cell("opt-13b", "a6000-csd", 4, 1024, "auto", 2.0, 1.9, 2.1, 0.5, 1.0, 2)
TOO_LARGE = Cell("opt-13b", "a6000-csd", 256, 131072, "auto", place_s=0.1, trace_s=1.0)
FAILED = Cell("opt-30b", "a6000-csd", 1, 1024, "auto", failed="came to its limit")


def test_cells_come_back_and_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "cells.jsonl"
    assert read(file) == []
    write(file, [PLANNED])
    write(file, [TOO_LARGE, FAILED])
    with file.open("a", encoding="utf-8") as stream:
        stream.write('{"model": "opt-1')
    assert read(file) == [PLANNED, TOO_LARGE, FAILED]


def test_what_is_known_is_not_planned_again() -> None:
    options = argparse.Namespace(
        models=["opt-1.3b", "opt-13b"],
        systems=["a6000-csd", "h200-csd4"],
        batches=["4"],
        contexts=["1024"],
        policies=[],
        more=False,
    )
    known = {PLANNED.place, ("opt-1.3b", "a6000-csd", 4, 1024), ("opt-1.3b", "h200-csd4", 4, 1024)}
    (left,) = tasks(options, known)
    assert (left.model, left.systems) == ("opt-13b", ("h200-csd4",))
    assert [task.model for task in tasks(options, set())] == ["opt-13b", "opt-1.3b"], "the larger one first"


def test_the_summary_lists_what_is_not_proven() -> None:
    assert (PLANNED.gap, TOO_LARGE.gap) == (0.050000000000000044, 0.0)
    lines = list(summary([PLANNED, TOO_LARGE, FAILED]))
    assert lines[0] == "3 cells: 1 planned, 1 proven not to fit, 1 undecided"
    assert lines[1] == "  opt-30b on a6000-csd, batch 1, context 1024: came to its limit"
    assert lines[2:4] == [
        "gap: at most 5.0e-02; above 0.0001 in 1",
        "  5.0e-02  opt-13b on a6000-csd, batch 4, context 1024",
    ]


def test_auto_is_held_to_policies_and_to_less_hardware() -> None:
    policy = Cell("opt-13b", "a6000-csd", 4, 1024, "instinfer", 1.0, 1.0, 2.2)
    more = Cell("opt-13b", "a6000-csd", 4, 1024, "auto, more gpu.memory_bytes", math.inf, math.inf, 1.9)
    found = worse([PLANNED, policy, more], 1e-4)
    assert [(better.policy, less.policy) for better, less, _ in found] == [
        ("auto", "instinfer"),
        ("auto, more gpu.memory_bytes", "auto"),
    ]
