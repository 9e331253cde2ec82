"""How closely drives and links keep the times that they are emulated with, on the wall clock.

    python -m benchmarks.drive_fidelity [--slower 3] [--repeats 9] [--drive-folder DIR] [--check]

Every operation is timed from its submission until its result is delivered, and held against what the mechanism
(busy-until times of channels, planes, engine and links) asks for; several drives at once against one alone, and two
transfers on one link against twice one. The hardware is the demo's, slowed down so that two cores keep up with it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import median

from benchmarks.fidelity.bars import COMMAND_TOLERANCE, TOGETHER_TOLERANCE, Held, missed_bars
from benchmarks.fidelity.drives import timed_drives
from benchmarks.fidelity.transfers import TimedTransfers
from benchmarks.verdict import print_verdict
from cost_models import HardwareSpec
from runtime.bench_machine import this_machine
from runtime.bench_spread import spread
from runtime.bench_table import align
from runtime.csd import FileBacking

DRIVES = 4
SLOWER = 3.0
"""Commands of some 350 ms: on a machine with other work to do, whoever wakes up waits for a core some milliseconds."""
REPEATS = 9


def main() -> int:
    """Prints a table; returns 1 if a bar is missed and ``--check`` given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--hw", default="demo", help="preset or path of a hardware description")
    parser.add_argument("--slower", type=float, default=SLOWER, help="slow the hardware down by this factor")
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument(
        "--drive-folder", type=Path, help="let drives keep their pages in files in this folder"
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a bar is missed")
    given = parser.parse_args()
    hw = HardwareSpec.load(given.hw).slowed(given.slower)
    backing = None if given.drive_folder is None else FileBacking(given.drive_folder)
    print(this_machine())
    place = "memory" if backing is None else f"files in {backing.folder}"
    print(f"{hw.name}, pages in {place}, median of {given.repeats} repeats\n", flush=True)
    held = measure(hw, given.repeats, backing)
    print(table(held))
    return print_verdict(
        f"one command or transfer within {COMMAND_TOLERANCE:.0%} of what is asked, several at once within "
        f"{TOGETHER_TOLERANCE:.0%}",
        missed_bars(held),
        check=given.check,
    )


def measure(hw: HardwareSpec, repeats: int, backing: FileBacking | None) -> list[Held]:
    """Returns all timings."""
    with timed_drives(hw, DRIVES, repeats, backing) as drives:
        held = [
            drives.held("dense attend", drives.dense_attend),
            drives.held("sparse attend", drives.sparse_attend),
            drives.held("write", drives.write),
            drives.held_together(f"{DRIVES} drives attend / one", drives.dense_attend),
        ]
    with closing(TimedTransfers(hw, repeats)) as transfers:
        held += transfers.held()
    return held


def table(held: Sequence[Held]) -> str:
    """Returns seconds and ratios, a line for each operation."""
    header = ("", "should take ms", "takes ms", "spread", "error", "bar")
    rows = [
        (
            one.name,
            f"{median(one.expected_s) * 1e3:.1f}",
            f"{median(one.measured_s) * 1e3:.1f}",
            f"{spread(one.ratios):.1%}",
            f"{one.error:+.2%}",
            f"{one.tolerance:.0%}",
        )
        for one in held
    ]
    return "\n".join(align([header, *rows]))


if __name__ == "__main__":
    sys.exit(main())
