"""What a window of the newest tokens in host memory gains, predicted and simulated.

    python -m benchmarks.newest_tokens [--batch 96 128 256] [--model opt-13b] [--hw a6000-csd] [--drives 1]

Each load is planned twice under ``auto``, with windows and without, and both plans are simulated page by page, by other rules
than those of the prediction. Drive memory is what the fullest drive needs; a drive refuses more than it has.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from cost_models import HardwareSpec
from models import abstract
from partitioner import PlacementError, Plan, Workload, partition
from partitioner.placement.policies import POLICIES
from partitioner.plan.residency import drive_memory_bytes
from runtime import SessionError, simulate

HEADER = "batch  windows  layers  predicted  simulated  gap      flash MB/token  drive memory GB  host GB  planned in"


def main() -> None:
    """Prints a line for each load and choice: tokens per second, bytes to flash per new token, memory, and planning time."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="opt-13b")
    parser.add_argument("--hw", default="a6000-csd")
    parser.add_argument("--drives", type=int, help="instead of those of the description")
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 96, 128, 256])
    parser.add_argument("--prompt-len", type=int, default=1024)
    parser.add_argument("--decode-len", type=int, default=1024)
    given = parser.parse_args()
    hw, model = HardwareSpec.load(given.hw), abstract(given.model)
    hw = hw if given.drives is None else hw.with_drives(given.drives)
    print(HEADER)
    for batch in given.batch:
        load = Workload(batch, given.prompt_len, given.decode_len)
        for windows in (False, True):
            begin = time.process_time()
            try:
                with auto(windows=windows):
                    plan = partition(model, hw, load)
            except PlacementError as error:
                print(f"{batch:5}  {error}")
                continue
            print(line(plan, windows, time.process_time() - begin), flush=True)


@contextmanager
def auto(*, windows: bool) -> Iterator[None]:
    """Lets policy ``auto`` have windows of newest tokens, or not."""
    before = POLICIES["auto"]
    POLICIES["auto"] = replace(before, newest=windows)
    try:
        yield
    finally:
        POLICIES["auto"] = before


def line(plan: Plan, windows: bool, took_s: float) -> str:
    """Returns what is printed of one plan."""
    layers = sum(decision.newest > 0 for decision in plan.decisions.ops.values())
    wear = plan.endurance
    written = 0.0 if wear is None else wear.bytes_per_new_token / 1e6
    memory = max(drive_memory_bytes(plan).values(), default=0.0) / 1e9
    host = plan.resident_bytes()["host"]["kv_cache"] / 1e9
    return (
        f"{plan.workload.batch_size:5}  {'with' if windows else 'without':7}  {layers:6}  {plan.tokens_per_second:9.2f}  "
        f"{simulated(plan):>9}  {plan.gap:.1e}  {written:14.3f}  {memory:15.2f}  {host:7.1f}  {took_s:8.1f} s"
    )


def simulated(plan: Plan) -> str:
    """Returns the simulated tokens per second, or a word for a plan that a drive refuses."""
    try:
        run = simulate(plan)
    except SessionError:
        return "refused"
    return f"{run.num_tokens / (run.prefill_s + run.decode_s):.2f}"


if __name__ == "__main__":
    main()
