"""How far the closed-form prediction is off the simulation, over a grid of models, systems, policies and workloads.

    python -m benchmarks.simulator [--loads 60] [--seed 0] [--worst 12]

Both go by the same parameters and share no formula: the closed form schedules costs per step, the simulation takes every page
over a channel. Cells that no plan fits, or that a drive refuses, are left out and not counted.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict

from benchmarks.simulation.cells import Held, drawn, hold, worst

BAR = 0.03
SHARES = (0.5, 0.9, 0.95, 0.99, 1.0)


def main() -> None:
    """Prints each cell, then the distribution and the worst ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--loads", type=int, default=60, help="loads drawn from the grid, some ten cells of each"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--worst", type=int, default=12, help="cells to print at the end")
    parser.add_argument("--json", action="store_true", help="print one JSON object per cell instead of text")
    given = parser.parse_args()
    found: list[Held] = []
    num_cells = 0
    for load, cells in drawn(given.loads, given.seed):
        traced = load.trace()
        num_cells += len(cells)
        for held in filter(None, (hold(cell, traced) for cell in cells)):
            found.append(held)
            print(_as_json(held) if given.json else _line(held), flush=True)
    if not given.json:
        print(_summary(found, num_cells, given.worst))


def _line(held: Held) -> str:
    prefill, decode = held.phase_errors
    return (
        f"{held.error:+8.2%}  prefill {prefill:+8.2%}  decode {decode:+8.2%}  {held.cell}"
        f"  [{held.took_s:.2f} s]"
    )


def _summary(found: Sequence[Held], num_cells: int, num_worst: int) -> str:
    if not found:
        return f"none of {num_cells} cells has a plan; draw more with --loads"
    errors = sorted(abs(held.error) for held in found)
    within = sum(error <= BAR for error in errors)
    parts = [f"{share:.0%} {errors[max(0, round(share * len(errors)) - 1)]:.2%}" for share in SHARES]
    slowest = max(held.took_s for held in found)
    lines = [
        "",
        f"{len(found)} of {num_cells} cells have a plan; {within} of them are within {BAR:.0%}",
        f"absolute error by share of cells: {', '.join(parts)}",
        f"to simulate: median {statistics.median(h.took_s for h in found):.2f} s, at most {slowest:.2f} s",
        "worst:",
    ]
    return "\n".join([*lines, *(_line(held) for held in worst(found, num_worst))])


def _as_json(held: Held) -> str:
    return json.dumps({**asdict(held), "error": held.error})


if __name__ == "__main__":
    main()
