"""What ``auto`` gains over published policies on slowed-down hardware: predicted beside measured on the wall clock.

    python -m benchmarks.measured_gain [--batches 8,16,24] [--repeats 3] [--clock wall] [--check]

The hardware is slowed down until waiting takes almost all of the time, so that two cores can emulate it (fidelity close to 1).
Only decode steps are compared: the prefill is the same under all policies.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.gain.bars import GAIN_TOLERANCE, LEAST_OVERLAP, Comparison, missed_bars
from benchmarks.gain.compare import compare
from benchmarks.gain.table import table
from benchmarks.verdict import print_verdict
from cost_models import HardwareSpec
from models import load_pretrained
from partitioner import Workload
from runtime.bench_machine import this_machine

HARDWARE = Path(__file__).with_name("slowed-a6000-csd20.toml")
POLICIES = ("flexgen-ssd", "instinfer", "auto")
BATCH_SIZES = (8, 16, 24)
PROMPT_LEN = 224
NEW_TOKENS = 17


def main() -> int:
    """Prints a table; returns 1 if a bar is missed and ``--check`` given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hw", default=str(HARDWARE), help="preset or path of a hardware description")
    parser.add_argument("--slower", type=float, default=1.0, help="slow the hardware down once more")
    parser.add_argument("--batches", default=",".join(map(str, BATCH_SIZES)))
    parser.add_argument("--prompt-len", type=int, default=PROMPT_LEN)
    parser.add_argument("--new", type=int, default=NEW_TOKENS, help="new tokens of each sequence")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "virtual"), default="wall")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    given = parser.parse_args()
    hw = HardwareSpec.load(given.hw).slowed(given.slower)
    model = load_pretrained("tiny")
    print(this_machine())
    print(
        f"tiny on {hw.name}, {given.clock} clock, prompts of {given.prompt_len} tokens, {given.new} new, "
        f"median of {given.repeats} runs, policies in turns\n",
        flush=True,
    )
    comparisons: list[Comparison] = []
    for batch_size in map(int, given.batches.split(",")):
        workload = Workload(batch_size, given.prompt_len, given.new)
        comparisons.append(
            compare(model, hw, workload, POLICIES, repeats=given.repeats, clock=given.clock, tell=_tell)
        )
    print(table(comparisons))
    return print_verdict(
        f"gains within {GAIN_TOLERANCE:.0%} of the prediction, at least {LEAST_OVERLAP:.0%} of the predicted "
        "overlap, tokens of plain jit",
        missed_bars(comparisons),
        check=given.check,
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
