"""How long planning takes next to tracing, how long its solver alone, and what simpler ways to place would give.

python -m benchmarks.placement [--repeats 3] [--policy auto] [--limit 60] [--case opt-13b]
"""

from __future__ import annotations

import argparse
import gc
import itertools
import math
import multiprocessing
import queue
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.baselines.greedy import greedy
from benchmarks.baselines.min_cut import min_cut
from cost_models import HardwareSpec
from models import abstract
from partitioner import Plan, Workload, partition
from partitioner.collection import without_collection
from partitioner.frontend import adapt
from partitioner.frontend.trace import trace_phase
from partitioner.placement.build import Mode, PairedGraphs, build_problem
from partitioner.placement.evaluate import Chosen, breakdown
from partitioner.placement.policies import policy_named
from partitioner.placement.problem import Problem, Solution
from partitioner.placement.solve import solve
from partitioner.placement.unfolded import solve_unfolded
from runtime.bench_machine import this_machine


@dataclass(frozen=True)
class Case:
    """A model, the changes to its configuration, hardware and what it generates."""

    name: str
    model: str
    changes: tuple[tuple[str, int], ...]
    hw: HardwareSpec
    workload: Workload


@dataclass(frozen=True)
class Outcome:
    """What a way to place gave: seconds it took, the best objective, and what the best lacks in bytes."""

    took_s: float
    objective_s: float
    missing_bytes: float = 0.0
    note: str = ""


def cases() -> tuple[Case, ...]:
    """Returns the models that are planned."""
    a6000 = HardwareSpec.load("a6000-csd")
    gpu, host = a6000.gpus[0].memory_bytes, a6000.host.memory_bytes
    large = a6000.with_memory("gpu0", 10 * gpu).with_memory("host", 10 * host)
    h200 = HardwareSpec.load("h200-csd4").with_drives(8)
    opt = Workload(64, 1024, 1024)
    long = Workload(8, 2048, 129024)
    return (
        Case("opt-13b", "opt-13b", (), a6000, opt),
        Case("opt-13b, 400 layers, 10x memory", "opt-13b", (("num_layers", 400),), large, opt),
        Case("llama-3-70b, 128K, 8 drives", "llama-3-70b", (("max_position", 131072),), h200, long),
    )


def problems(plan: Plan) -> list[Problem]:
    """Returns placement problems of a plan, one for each mode without micro-batches and caches of inputs."""
    policy = policy_named(plan.policy, plan.hw)
    costing = policy.costing(plan.hw, plan.workload, len(plan.caches))
    graphs = [p.graph for p in (plan.prefill, plan.decode) if p is not None]
    steps = [plan.workload.batch_size / g.phase.batch_size for g in graphs]
    steps[-1] = sum(w for _, w in plan.workload.decode_contexts(with_prefill=len(graphs) > 1))
    paired = PairedGraphs.of(graphs)
    homes = policy.weight_homes if paired.users else policy.weight_homes[:1]
    modes = [Mode(h, s) for h, s in itertools.product(homes, (False, True))]
    built = (build_problem(paired, costing, policy, mode, steps).problem for mode in modes)
    return [p for p in built if all(c.variants for s in p.stages for c in s.block.choices)]


def measured(function: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the processor's seconds of a call with the collector paused, as planning does, and what it gave."""
    gc.collect()
    with without_collection():
        start = time.process_time()
        result = function()
        return time.process_time() - start, result


def placed(given: Sequence[Problem], place: Callable[[Problem], Chosen | None]) -> Outcome:
    """Returns the best that a way to place gives for any of the problems."""
    start = time.process_time()
    chosen = [(p, c) for p in given if (c := place(p)) is not None]
    took_s = time.process_time() - start
    if not chosen:
        return Outcome(took_s, math.inf, note="finds none")
    found: list[Outcome] = []
    for problem, choice in chosen:
        parts = breakdown(problem, choice)
        found.append(Outcome(took_s, parts.objective_s, sum(parts.shortfall(problem.capacities))))
    return min(found, key=lambda o: (o.missing_bytes, o.objective_s))


def chosen_by_solver(problem: Problem) -> Chosen | None:
    """Returns the placement of the project's solver."""
    result = solve(problem)
    return result.chosen if isinstance(result, Solution) else None


def unfolded(given: Sequence[Problem], limit_s: float) -> Outcome:
    """Returns what the integer program over all layers gives within a limit of wall clock for all problems together."""
    context = multiprocessing.get_context("spawn")
    answers: Any = context.Queue()
    child = context.Process(target=_solve_unfolded, args=(list(given), answers))
    start = time.perf_counter()
    child.start()
    try:
        objective_s, cpu_s = answers.get(timeout=limit_s)
    except queue.Empty:
        return Outcome(time.perf_counter() - start, math.inf, note=f"not done after {limit_s:.0f} s")
    finally:
        child.kill()
        child.join()
    return Outcome(cpu_s, objective_s)


def _solve_unfolded(given: list[Problem], answers: Any) -> None:
    start = time.process_time()
    results = [solve_unfolded(problem) for problem in given]
    best = min((r.objective for r in results if isinstance(r, Solution)), default=math.inf)
    answers.put((best, time.process_time() - start))


def behind_tracing(traced: Sequence[float], planned: Sequence[float]) -> tuple[list[float], list[float]]:
    """Returns what each plan took beyond tracing, in seconds and over tracing.

    Args:
        traced: Seconds of tracing alone, one more than plans: before each plan and after the last. The mean of the two beside a
            plan is taken, since the machine is now fast and now slow.
        planned: Seconds of plans, with tracing.
    """
    beside = [(before + after) / 2 for before, after in itertools.pairwise(traced)]
    rest_s = [whole - trace for whole, trace in zip(planned, beside, strict=True)]
    return rest_s, [rest / trace for rest, trace in zip(rest_s, beside, strict=True)]


def shown(values: Sequence[float], unit: str) -> str:
    """Returns the median of some numbers, the least and the most."""
    return f"{statistics.median(values):.2f}{unit} ({min(values):.2f} to {max(values):.2f})"


def run(case: Case, policy: str, repeats: int, limit_s: float) -> None:
    """Prints what one case took and gave."""
    model = abstract(case.model, **dict(case.changes))
    work = case.workload
    _, plan = measured(lambda: partition(model, case.hw, work, policy))
    assert isinstance(plan, Plan)
    rows = plan.prefill.rows if plan.prefill else 1

    def trace() -> None:
        function = adapt(model)
        trace_phase(function, "decode", batch_size=work.batch_size, chunk=1, max_len=work.max_len)
        trace_phase(function, "prefill", batch_size=rows, chunk=work.prompt_len, max_len=work.prompt_len)

    traced, planned = [measured(trace)[0]], []
    for _ in range(repeats):
        planned.append(measured(lambda: partition(model, case.hw, work, policy))[0])
        traced.append(measured(trace)[0])
    rest_s, ratios = behind_tracing(traced, planned)
    print(
        f"\n{case.name} on {case.hw.name}, batch {work.batch_size}, {work.prompt_len}+{work.decode_len} tokens"
    )
    print(f"  tracing alone {shown(traced, ' s')}")
    print(f"  both          {shown(planned, ' s')}")
    print(f"  the rest      {shown(rest_s, ' s')}; {shown(ratios, 'x')} tracing, each beside its neighbours")
    print(f"  objective     {plan.decisions.certificate.objective:8.2f} s, gap {plan.gap:.1e}")
    print(
        f"  the plan's    {plan.decisions.certificate.account:8.2f} s, {plan.account_excess:+.1e}; "
        f"its schedule {plan.schedule_excess or 0.0:+.1e} from that"
    )
    given = problems(plan)
    solved = [placed(given, chosen_by_solver) for _ in range(repeats)]
    best = replace(solved[0], took_s=statistics.median(outcome.took_s for outcome in solved))
    rows_of = {
        "solver": best,
        "greedy": placed(given, greedy),
        "minimum cut": placed(given, min_cut),
        "unfolded": unfolded(given, limit_s),
    }
    print(f"  {len(given)} problems    took s  objective s  over solver's")
    for name, outcome in rows_of.items():
        lacks = f"does not fit: lacks {outcome.missing_bytes / 1e9:.1f} GB" if outcome.missing_bytes else ""
        ratio = outcome.objective_s / best.objective_s
        print(
            f"  {name:<12} {outcome.took_s:8.2f} {outcome.objective_s:12.2f} {ratio:14.3f}  {lacks or outcome.note}"
        )


def main() -> None:
    """Prints a table for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for the unfolded program")
    parser.add_argument("--case", default="", help="beginning of the names to run")
    given = parser.parse_args()
    print(this_machine())
    print(
        f"policy {given.policy}, {given.repeats} repeats in one process behind one that is not counted; "
        "processor seconds, median (least to most)"
    )
    for case in cases():
        if case.name.startswith(given.case):
            run(case, given.policy, given.repeats, given.limit)


if __name__ == "__main__":
    main()
