"""How long planning takes next to tracing alone, and how much memory: each run in a process of its own, taken in turns.

python -m benchmarks.partition_time [--model opt-13b] [--repeats 5]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass

from models import abstract
from partitioner import PlacementError, Workload, partition
from partitioner.frontend import adapt
from partitioner.frontend.trace import trace_phase
from runtime.bench_spread import spread

CASES = (
    ("trace", 64),
    ("instinfer", 64),
    ("flexgen-ssd", 64),
    ("auto", 2),
    ("auto", 64),
)
PROMPT_LEN = DECODE_LEN = 1024
PREFILL_ROWS = 4


@dataclass(frozen=True)
class Sample:
    """One process: seconds of wall clock and of processor after the imports, and peak resident bytes with them."""

    wall_s: float
    cpu_s: float
    peak_bytes: float
    outcome: str


def run_here(model: str, hw: str, what: str, batch_size: int) -> Sample:
    """Traces, or plans, in this process."""
    config = abstract(model)
    outcome = "traced"
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    if what == "trace":
        function, max_len = adapt(config), PROMPT_LEN + DECODE_LEN
        trace_phase(function, "decode", batch_size=batch_size, chunk=1, max_len=max_len)
        trace_phase(function, "prefill", batch_size=PREFILL_ROWS, chunk=PROMPT_LEN, max_len=PROMPT_LEN)
    else:
        try:
            plan = partition(config, hw, Workload(batch_size, PROMPT_LEN, DECODE_LEN), what)
            outcome = f"{plan.tokens_per_second:.1f} tokens/s predicted, gap {plan.gap:.1e}"
        except PlacementError:
            outcome = "does not fit"
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    return Sample(wall_s, cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0, outcome)


def run_apart(model: str, hw: str, what: str, batch_size: int) -> Sample:
    """Does the same in a new process."""
    command = [sys.executable, "-m", __spec__.name, "--one", what, "--batch", str(batch_size)]
    done = subprocess.run(
        [*command, "--model", model, "--hw", hw], check=True, capture_output=True, text=True
    )
    return Sample(**json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="opt-13b")
    parser.add_argument("--hw", default="a6000-csd")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, default=64, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(vars(run_here(given.model, given.hw, given.one, given.batch))))
        return
    samples: dict[tuple[str, int], list[Sample]] = {case: [] for case in CASES}
    for _ in range(given.repeats):
        for case in CASES:
            samples[case].append(run_apart(given.model, given.hw, *case))
    print_table(given.model, given.hw, samples)


def print_table(model: str, hw: str, samples: dict[tuple[str, int], list[Sample]]) -> None:
    """Prints medians, spreads and ratios to tracing alone."""
    from runtime.bench_machine import this_machine

    repeats = len(samples[CASES[0]])
    print(this_machine())
    print(
        f"{model} on {hw}, {PROMPT_LEN}+{DECODE_LEN} tokens, {repeats} processes each, in turns; imports left aside\n"
    )
    print(f"{'what':<12} batch  wall s  spread  CPU s  x trace (wall)  (CPU)  peak MB  result")
    base = samples[CASES[0]]
    base_wall, base_cpu = (statistics.median(getattr(s, k) for s in base) for k in ("wall_s", "cpu_s"))
    for (what, batch_size), runs in samples.items():
        walls = [s.wall_s for s in runs]
        wall, cpu = statistics.median(walls), statistics.median(s.cpu_s for s in runs)
        peak = max(s.peak_bytes for s in runs) / 1e6
        print(
            f"{what:<12} {batch_size:5}  {wall:6.2f}  {spread(walls):6.0%}  {cpu:5.2f}  "
            f"{wall / base_wall:14.2f}  {cpu / base_cpu:5.2f}  {peak:7.0f}  {runs[0].outcome}"
        )


if __name__ == "__main__":
    main()
