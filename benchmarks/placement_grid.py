"""Plans a grid of models, systems, batches and contexts: is every optimum proven, and is ``auto`` never worse than a policy?

python -m benchmarks.placement_grid [--models opt-13b,..] [--systems a6000-csd,..] [--batches 1,..] [--contexts 1024,..]
    [--policies instinfer,..] [--more] [--jobs 2] [--csv out/grid.csv]

Half of a context is prompt and half is generated. Models whose table of positions is shorter get a longer one. ``--more`` also
plans on systems that have a quarter more of one rate or memory, which must not be slower.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, fields
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.progress import track

from cost_models import HardwareSpec
from models import abstract
from models.presets import PRESETS
from partitioner import PlacementError, Workload
from partitioner.collection import without_collection
from partitioner.front import Traced, Tracer, trace_model
from partitioner.frontend import adapt
from partitioner.objective import OBJECTIVES, TOKENS_PER_SECOND
from partitioner.placement.policies import POLICIES
from partitioner.planner import Planner
from runtime.bench_machine import this_machine

SYSTEMS = ("a6000-csd", "2xa6000-csd", "h200-csd4", "smartssd-16")
BATCHES = (1, 4, 16, 64, 256)
CONTEXTS = (1024, 4096, 32768, 131072)
ENOUGH = 1e-4
"""The largest gap, and the most by which ``auto`` may seem worse than something else: both have gaps."""
RAISED = (
    "gpu.memory_bytes",
    "gpu.memory_bytes_per_s",
    "host.memory_bytes",
    "host.memory_bytes_per_s",
    "drive.flash.channel_bytes_per_s",
    "link.gpu.bytes_per_s",
    "link.drive.bytes_per_s",
)
MORE = 1.25
"""How much more of each."""


@dataclass(frozen=True)
class Cell:
    """What one plan gave.

    Attributes:
        model: Name.
        system: Name of the preset.
        batch: Sequences.
        context: Tokens.
        policy: Name, or ``auto`` and what there is more of.
        objective_s: The solver's objective; infinite where nothing fits.
        predicted_s: The time that the plan's schedule takes.
        gap: Relative distance of the objective from its bound.
        place_s: Processor seconds from the traced model to the plan.
        trace_s: Processor seconds of tracing.
        micro_batches: Of the plan.
    """

    model: str
    system: str
    batch: int
    context: int
    policy: str
    objective_s: float
    predicted_s: float
    gap: float
    place_s: float
    trace_s: float
    micro_batches: int

    @property
    def fits(self) -> bool:
        """Whether there is a plan."""
        return math.isfinite(self.objective_s)


Place = tuple[str, str, int, int]


def planned(
    at: tuple[str, int, int], systems: Sequence[str], policies: Sequence[str], more: bool
) -> list[Cell]:
    """Returns the plans of one model, batch and context."""
    name, batch, context = at
    workload = Workload(batch, context // 2, context // 2)
    longer = {} if PRESETS[name].max_position >= context else {"max_position": context}
    function = adapt(abstract(name, **longer))
    tracer = Tracer(function)
    cells: list[Cell] = []
    with without_collection():
        for system in systems:
            hw, place_at = HardwareSpec.load(system), (name, system, batch, context)
            traced, trace_s = timed(
                lambda hw=hw: trace_model(function, hw, workload, verify=False, tracer=tracer)
            )
            trace_s = max(trace_s, cells[0].trace_s) if cells else trace_s
            own = [cell(place_at, policy, policy, traced, hw, workload, trace_s) for policy in policies]
            for key in RAISED if more and own[0].fits else ():
                larger = hw.replace(key, _value(hw, key) * MORE)
                own.append(cell(place_at, f"auto, more {key}", "auto", traced, larger, workload, trace_s))
            cells += own
    return cells


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Returns what a function gives, and the processor's seconds."""
    start = time.process_time()
    return function(), time.process_time() - start


def cell(
    place_at: Place,
    label: str,
    policy: str,
    traced: Traced,
    hw: HardwareSpec,
    workload: Workload,
    trace_s: float,
) -> Cell:
    """Returns what planning under a policy gives."""
    try:
        planner, planner_s = timed(
            lambda: Planner(traced, hw, workload, policy, OBJECTIVES[TOKENS_PER_SECOND], verify=False)
        )
        decisions, solve_s = timed(planner.solve)
    except PlacementError:
        return Cell(*place_at, label, math.inf, math.inf, 0.0, 0.0, trace_s, 1)
    plan, plan_s = timed(lambda: planner.plan(decisions))
    found, place_s = decisions[0].certificate, planner_s + solve_s + plan_s
    gap = max(0.0, 1.0 - found.bound / found.objective)
    return Cell(
        *place_at, label, found.objective, plan.total_seconds, gap, place_s, trace_s, plan.micro_batches
    )


def _value(hw: HardwareSpec, key: str) -> float:
    """Returns the number behind a dotted key of the first device of its kind."""
    kind, *path = key.split(".")
    if kind == "link":
        ports = hw.ports["gpu0" if path[0] == "gpu" else "csd0"]
        return float(getattr(hw.link(ports[0]), path[1]))
    found: Any = {"gpu": hw.gpus[0], "host": hw.host, "drive": hw.drives[0]}[kind]
    for field in path:
        found = getattr(found, field)
    return float(found)


def worse(cells: Sequence[Cell], slack: float) -> list[tuple[Cell, Cell, float]]:
    """Returns where ``auto`` is worse than a policy, or than itself on a system with less, and by how much.

    Both by the solver's objective and by the finished plan's schedule.
    """
    found: list[tuple[Cell, Cell, float]] = []
    by_place: dict[Place, dict[str, Cell]] = {}
    for c in cells:
        by_place.setdefault((c.model, c.system, c.batch, c.context), {})[c.policy] = c
    for at_place in by_place.values():
        auto = at_place["auto"]
        for label, other in at_place.items():
            better, less = (other, auto) if label.startswith("auto, more") else (auto, other)
            if label == "auto" or not less.fits:
                continue
            for better_s, less_s in (
                (better.objective_s, less.objective_s),
                (better.predicted_s, less.predicted_s),
            ):
                if not better_s <= less_s * (1.0 + slack):
                    found.append((better, less, better_s / less_s - 1.0))
    return found


def summary(cells: Sequence[Cell]) -> Iterator[str]:
    """Yields the report's lines."""
    autos = [c for c in cells if c.policy == "auto"]
    fitting = [c for c in autos if c.fits]
    yield f"{len(autos)} cells: {len(fitting)} planned, {len(autos) - len(fitting)} proven not to fit"
    if not fitting:
        return
    worst = max(fitting, key=lambda c: c.gap)
    over = sum(c.gap > ENOUGH for c in fitting)
    yield f"gap: at most {worst.gap:.1e} ({_named(worst)}); above {ENOUGH:g} in {over}"
    ratios = [c.place_s / c.trace_s for c in fitting]
    slowest = max(fitting, key=lambda c: c.place_s)
    yield (
        f"placement: median {statistics.median(c.place_s for c in fitting):.2f} s of processor time, "
        f"{statistics.median(ratios):.2f} x tracing; at most {slowest.place_s:.1f} s ({_named(slowest)})"
    )
    compared = sum(c.policy != "auto" and c.fits for c in cells)
    failed = worse(cells, ENOUGH)
    yield f"auto against the others: {compared} plans, each by objective and schedule; worse in {len(failed)}"
    for better, less, ratio in failed:
        yield f"  {_named(better)} {better.policy}: {ratio:+.2%} to {less.policy}"
    off = [c.predicted_s / c.objective_s - 1.0 for c in fitting]
    most = max(fitting, key=lambda c: abs(c.predicted_s / c.objective_s - 1.0))
    yield (
        f"schedule against objective: median {statistics.median(off):+.2%}, "
        f"at most {most.predicted_s / most.objective_s - 1.0:+.1%} ({_named(most)})"
    )


def _named(c: Cell) -> str:
    return f"{c.model} on {c.system}, batch {c.batch}, context {c.context}"


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def main(arguments: Sequence[str] | None = None) -> int:
    """Plans the grid and prints what came out; returns 1 where a gap is too large or ``auto`` is worse."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=_list, default=list(PRESETS))
    parser.add_argument("--systems", type=_list, default=list(SYSTEMS))
    parser.add_argument("--batches", type=_list, default=list(map(str, BATCHES)))
    parser.add_argument("--contexts", type=_list, default=list(map(str, CONTEXTS)))
    parser.add_argument("--policies", type=_list, default=[p for p in POLICIES if p != "auto"])
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args(arguments)
    places = [
        (model, int(batch), int(context))
        for model, context, batch in itertools.product(options.models, options.contexts, options.batches)
    ]
    print(this_machine())
    policies = ["auto", *options.policies]
    cells: list[Cell] = []
    start = time.perf_counter()
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(planned, at, options.systems, policies, options.more) for at in places]
        for job in track(as_completed(jobs), "planning", len(jobs), disable=not sys.stderr.isatty()):
            cells += job.result()
    cells.sort(key=lambda c: (c.model, c.system, c.context, c.batch))
    print(
        f"{time.perf_counter() - start:.0f} s in {options.jobs} processes; policies {', '.join(policies)}\n"
    )
    if options.csv:
        options.csv.parent.mkdir(parents=True, exist_ok=True)
        with options.csv.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(f.name for f in fields(Cell))
            rows.writerows([getattr(c, f.name) for f in fields(Cell)] for c in cells)
    print("\n".join(summary(cells)))
    return int(bool(worse(cells, ENOUGH)) or any(c.gap > ENOUGH for c in cells if c.fits))


if __name__ == "__main__":
    sys.exit(main())
