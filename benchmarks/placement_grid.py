"""Plans a grid of models, systems, batches and contexts: is every optimum proven, and is ``auto`` never worse than a policy?

python -m benchmarks.placement_grid [--models opt-13b,..] [--systems a6000-csd,..] [--batches 1,..] [--contexts 1024,..]
    [--policies instinfer,..] [--more] [--workers 2] [--out out/grid.jsonl] [--show]

Half of a context is prompt and half is generated. Models whose table of positions is shorter get a longer one.
``--policies ""`` plans ``auto`` alone. ``--more`` also plans on systems that have a quarter more of one rate or memory, which
must not be slower.
Every cell is a line of ``--out``, written as soon as it is known; a run that is started again leaves out what is there.
``--show`` sums up what is there and plans nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.progress import track

from benchmarks.planned_cells import Cell, Place, read, worse, write
from cost_models import HardwareSpec
from models import abstract
from models.presets import PRESETS
from partitioner import PlacementError, Workload
from partitioner.collection import without_collection
from partitioner.front import Traced, Tracer, trace_model
from partitioner.frontend import adapt
from partitioner.objective import OBJECTIVES, TOKENS_PER_SECOND
from partitioner.placement.highs import SolverError
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
class Task:
    """What one process plans from one trace.

    Attributes:
        model: Name.
        batch: Sequences.
        context: Tokens.
        systems: Names of presets.
        policies: Names.
        more: Whether to plan also on systems that have more of something.
    """

    model: str
    batch: int
    context: int
    systems: tuple[str, ...]
    policies: tuple[str, ...]
    more: bool


def planned(task: Task, out: Path | None) -> list[Cell]:
    """Returns the plans of one model, batch and context, and writes those of each system as soon as they are known."""
    name, context = task.model, task.context
    workload = Workload(task.batch, context // 2, context // 2)
    longer = {} if PRESETS[name].max_position >= context else {"max_position": context}
    function = adapt(abstract(name, **longer))
    tracer = Tracer(function)
    cells: list[Cell] = []
    with without_collection():
        for system in task.systems:
            hw, place_at = HardwareSpec.load(system), (name, system, task.batch, context)
            traced, trace_s = timed(
                lambda hw=hw: trace_model(function, hw, workload, verify=False, tracer=tracer)
            )
            trace_s = max(trace_s, cells[0].trace_s) if cells else trace_s
            own = [cell(place_at, p, p, traced, hw, workload, trace_s) for p in ("auto", *task.policies)]
            for key in RAISED if task.more and own[0].fits else ():
                larger = hw.replace(key, _value(hw, key) * MORE)
                own.append(cell(place_at, f"auto, more {key}", "auto", traced, larger, workload, trace_s))
            cells += own
            if out:
                write(out, own)
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
    start = time.process_time()
    try:
        planner = Planner(traced, hw, workload, policy, OBJECTIVES[TOKENS_PER_SECOND], verify=False)
        plan = planner.plan(planner.solve())
    except PlacementError:
        return Cell(*place_at, label, place_s=time.process_time() - start, trace_s=trace_s)
    except SolverError as error:
        took_s = time.process_time() - start
        return Cell(*place_at, label, place_s=took_s, trace_s=trace_s, failed=str(error))
    place_s = time.process_time() - start
    found = plan.decisions.certificate
    return Cell(
        *place_at,
        label,
        found.objective,
        found.bound,
        plan.total_seconds,
        place_s,
        trace_s,
        plan.micro_batches,
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


def summary(cells: Sequence[Cell]) -> Iterator[str]:
    """Yields the report's lines."""
    autos = [c for c in cells if c.policy == "auto"]
    fitting, failed = [c for c in autos if c.fits], [c for c in autos if c.failed]
    without = len(autos) - len(fitting) - len(failed)
    yield f"{len(autos)} cells: {len(fitting)} planned, {without} proven not to fit, {len(failed)} undecided"
    yield from (f"  {c}: {c.failed}" for c in failed)
    if not fitting:
        return
    over = sorted((c for c in fitting if c.gap > ENOUGH), key=lambda c: -c.gap)
    yield f"gap: at most {max(c.gap for c in fitting):.1e}; above {ENOUGH:g} in {len(over)}"
    yield from (f"  {c.gap:.1e}  {c}" for c in over)
    ratios = [c.place_s / c.trace_s for c in fitting]
    slowest = max(autos, key=lambda c: c.place_s)
    yield (
        f"placement: median {statistics.median(c.place_s for c in fitting):.2f} s of processor time, "
        f"{statistics.median(ratios):.2f} x tracing; at most {slowest.place_s:.1f} s ({slowest})"
    )
    compared = sum(c.policy != "auto" and c.fits for c in cells)
    failed_by = worse(cells, ENOUGH)
    yield f"auto against the others: {compared} plans, each by objective and schedule; worse in {len(failed_by)}"
    for better, less, ratio in failed_by:
        yield f"  {better} {better.policy}: {ratio:+.2%} to {less.policy}"
    off = [c.predicted_s / c.objective_s - 1.0 for c in fitting]
    most = max(fitting, key=lambda c: abs(c.predicted_s / c.objective_s - 1.0))
    yield (
        f"schedule against objective: median {statistics.median(off):+.2%}, "
        f"at most {most.predicted_s / most.objective_s - 1.0:+.1%} ({most})"
    )


def tasks(options: argparse.Namespace, known: set[Place]) -> list[Task]:
    """Returns what is to be planned yet, large models first: these take longest."""
    models = sorted(
        options.models, key=lambda m: PRESETS[m].num_layers * PRESETS[m].hidden_size ** 2, reverse=True
    )
    found: list[Task] = []
    for model, batch, context in itertools.product(
        models, map(int, options.batches), map(int, options.contexts)
    ):
        systems = tuple(s for s in options.systems if (model, s, batch, context) not in known)
        if systems:
            found.append(Task(model, batch, context, systems, tuple(options.policies), options.more))
    return found


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
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--show", action="store_true")
    options = parser.parse_args(arguments)
    cells = read(options.out) if options.out else []
    waiting = [] if options.show else tasks(options, {c.place for c in cells})
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    print(this_machine())
    print(f"{len(cells)} plans known, {len(waiting)} traces to plan from in {options.workers} processes")
    start = time.perf_counter()
    # Matrices are small, and every worker has a core: threads of linear algebra would wait for each other.
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1"))
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(planned, task, options.out) for task in waiting]
        for job in track(as_completed(jobs), "planning", len(jobs), disable=not sys.stderr.isatty()):
            cells += job.result()
    cells.sort(key=lambda c: (c.model, c.system, c.context, c.batch))
    print(
        f"{time.perf_counter() - start:.0f} s; policies {', '.join(dict.fromkeys(c.policy for c in cells))}\n"
    )
    print("\n".join(summary(cells)))
    wrong = worse(cells, ENOUGH) or any(c.gap > ENOUGH or c.failed for c in cells if c.policy == "auto")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
