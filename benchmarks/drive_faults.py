"""Generations on drives that fail: do the tokens stay the same, and what does going on cost?

Every run draws a fault, when it strikes, one drive or four, and exact or sparse attention, and generates with the same model
on a sound system and on the faulty one, on the virtual clock. ``--check`` ends with 1 where a token differs, or where a kind
of fault that stops a generation never struck. Attention is sparse only where drives are left: once the last one is given up,
what remains attends exactly, and tokens may differ.

    python -m benchmarks.drive_faults --check
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import typer
from flax import nnx
from rich.console import Console
from rich.progress import track

from cost_models import FaultSpec, HardwareSpec
from models import Transformer, TransformerConfig
from partitioner import SparF, Workload, partition
from runtime import Session
from runtime.bench_machine import this_machine
from runtime.bench_table import align
from runtime.result import GenerationResult

PAGE_BYTES = 128
WORKLOAD = Workload(batch_size=4, prompt_len=24, decode_len=16)
SPARSE = SparF(4, 12)


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    Attributes:
        name: In the table.
        draw: Returns a fault of the kind from a source of random numbers and a seed.
        stops: Whether a generation has to recover from it.
    """

    name: str
    draw: Callable[[np.random.Generator, int], FaultSpec]
    stops: bool


KINDS = (
    Kind(
        "read retries",
        lambda rng, s: FaultSpec(seed=s, read_retries_mean=float(rng.uniform(0.003, 0.5))),
        False,
    ),
    Kind(
        "bit errors",
        lambda rng, s: FaultSpec(seed=s, uncorrectable_per_page_read=float(10 ** rng.uniform(-3, -1.3))),
        True,
    ),
    Kind(
        "failed programs",
        lambda rng, s: FaultSpec(seed=s, program_failure_per_page=float(rng.uniform(0.01, 0.3))),
        False,
    ),
    Kind("worn blocks", lambda rng, s: FaultSpec(seed=s, worn_blocks=float(rng.uniform(0.1, 0.9))), False),
    Kind("stops", lambda rng, s: FaultSpec(seed=s, stop_after_commands=int(rng.integers(3, 60))), True),
    Kind(
        "runs full",
        lambda rng, s: FaultSpec(
            seed=s, worn_blocks=1.0, program_failure_per_page=float(rng.uniform(0.8, 0.95))
        ),
        True,
    ),
    Kind(
        "all together",
        lambda rng, s: FaultSpec(
            seed=s,
            read_retries_mean=0.1,
            uncorrectable_per_page_read=0.005,
            program_failure_per_page=0.05,
            worn_blocks=0.2,
            stop_after_commands=int(rng.integers(20, 60)),
        ),
        True,
    ),
)


@dataclass(frozen=True)
class Run:
    """What came of one run.

    Attributes:
        kind: Of the fault.
        seed: Of the run.
        same: Whether all tokens are those of the sound system.
        num_recoveries: Times that the generation had to recover.
        cost_s: Seconds more than on the sound system.
    """

    kind: str
    seed: int
    same: bool
    num_recoveries: int
    cost_s: float


def main(
    runs: int = typer.Option(210, min=1, help="Random runs."),
    first_seed: int = typer.Option(0, min=0, help="Seed of the first run; the others count on."),
    check: bool = typer.Option(False, help="End with 1 where a bar is missed."),
) -> None:
    """Draw faults, run them, and tell what changed."""
    seeds = range(first_seed, first_seed + runs)
    found = [run_one(seed) for seed in track(seeds, "generating", console=Console(stderr=True))]
    print(f"{this_machine()}\n{describe()}\n")
    print("\n".join(align(table(found))))
    wrong = [run for run in found if not run.same]
    idle = [
        kind.name
        for kind in KINDS
        if kind.stops and not any(r.num_recoveries for r in found if r.kind == kind.name)
    ]
    print(
        f"Tokens differ in {len(wrong)} of {len(found)} runs"
        + (f": seeds {[r.seed for r in wrong]}" if wrong else "")
    )
    if check and (wrong or (idle and runs >= 10 * len(KINDS))):
        print(f"missed{f'; never struck: {idle}' if idle else ''}")
        sys.exit(1)


def run_one(seed: int) -> Run:
    """Returns what one random fault does to a generation."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    num_drives = int(rng.choice([1, 4]))
    sparse = bool(rng.integers(2)) and num_drives > 1
    drive = None if num_drives == 1 else f"csd{rng.integers(num_drives)}"
    sound = generate(num_drives, sparse, None, None)
    faulty = generate(num_drives, sparse, kind.draw(rng, seed), drive)
    return Run(
        kind.name, seed, faulty.tokens == sound.tokens, len(faulty.recoveries), faulty.total_s - sound.total_s
    )


def generate(num_drives: int, sparse: bool, faults: FaultSpec | None, drive: str | None) -> GenerationResult:
    """Returns a generation with all attention on drives, of which one or all have faults."""
    if faults is None:
        return _sound(num_drives, sparse)
    return _generate(num_drives, sparse, faults, drive)


@cache
def _sound(num_drives: int, sparse: bool) -> GenerationResult:
    return _generate(num_drives, sparse, None, None)


def _generate(num_drives: int, sparse: bool, faults: FaultSpec | None, drive: str | None) -> GenerationResult:
    hw = system(num_drives).with_faults(faults, drive)
    load = replace(WORKLOAD, sparsity=SPARSE if sparse else None)
    plan = partition(model(), hw, load, "instinfer")
    with Session(plan, model(), clock="virtual") as session:
        return session.generate(prompts(), max_new_tokens=WORKLOAD.decode_len)


def system(num_drives: int) -> HardwareSpec:
    """Returns the demo system with small pages, so that short contexts fill many, and few blocks."""
    hw = HardwareSpec.load("demo").with_drives(num_drives).replace("drive.flash.page_bytes", PAGE_BYTES)
    return hw.replace("drive.flash.blocks_per_plane", 8)


@cache
def model() -> Transformer:
    """Returns a small decoder with random weights."""
    config = TransformerConfig.named("tiny").replace(
        name="small",
        vocab_size=101,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        num_kv_heads=4,
        head_size=8,
        ffn_size=48,
        max_position=512,
    )
    return Transformer(config, rngs=nnx.Rngs(0))


def prompts() -> list[list[int]]:
    """Returns prompts of different lengths."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, 101, length).tolist() for length in (24, 9, 17)]


def table(found: list[Run]) -> list[tuple[str, ...]]:
    """Returns a row for each kind of fault."""
    rows = [("fault", "runs", "same tokens", "recovered", "median cost s")]
    for kind in KINDS:
        mine = [run for run in found if run.kind == kind.name]
        if mine:
            rows.append(
                (
                    kind.name,
                    str(len(mine)),
                    str(sum(run.same for run in mine)),
                    str(sum(run.num_recoveries > 0 for run in mine)),
                    f"{np.median([run.cost_s for run in mine]):.3g}",
                )
            )
    return rows


def describe() -> str:
    """Returns what is run."""
    return (
        f"2 layers, 4 heads of 8, batch {WORKLOAD.batch_size}, prompts of up to {WORKLOAD.prompt_len} tokens, "
        f"{WORKLOAD.decode_len} new ones, pages of {PAGE_BYTES} B, 1 or 4 drives, exact or {SPARSE}, virtual clock"
    )


if __name__ == "__main__":
    typer.run(main)
