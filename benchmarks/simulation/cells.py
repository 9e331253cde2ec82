"""The cells of the grid, and what each comes to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from cost_models import HardwareSpec
from models import Transformer, abstract, load_pretrained
from partitioner import PartitionError, SparF, Workload
from partitioner.collection import without_collection
from partitioner.front import Traced, trace_model
from partitioner.frontend import adapt
from partitioner.objective import OBJECTIVES, TOKENS_PER_SECOND
from partitioner.planner import Planner
from runtime import SessionError, simulate

MODELS = ("opt-6.7b", "opt-13b", "opt-30b", "llama-2-13b", "llama-3-8b")
SYSTEMS = ("a6000-csd", "h200-csd4", "smartssd-16", "2xa6000-csd")
BATCHES = (1, 4, 16, 64, 256)
CONTEXTS = ((128, 128), (512, 256), (1024, 1024), (1900, 100))
TINY_CONTEXTS = ((32, 32), (488, 24))
RATIOS = (None, 8.0)
DRIVES = (1, 2, 4, 8, 20)
FIXED = {"gpu-only": 1, "deepspeed-host": 1, "flexgen-ssd": 2, "recompute": 2, "instinfer": 3}
"""Policies by the numbers of drives with which each is tried for one load: those that use no drive are tried once."""
SEARCHED_SHARE = 3
"""One load in so many is planned by ``auto``, too: fixed placements are made sooner than the best one is found."""


@dataclass(frozen=True)
class Load:
    """Names what is generated, and on which GPU: all that tracing depends on.

    Attributes:
        model: Name of a model.
        system: Name of a hardware preset.
        batch_size: Sequences.
        prompt_len: Tokens of each prompt.
        decode_len: New tokens of each.
        ratio: Compression of sparse attention; None: exact.
    """

    model: str
    system: str
    batch_size: int
    prompt_len: int
    decode_len: int
    ratio: float | None

    @property
    def workload(self) -> Workload:
        """Returns what is generated."""
        sparsity = None if self.ratio is None else SparF.ratio(self.ratio)
        return Workload(self.batch_size, self.prompt_len, self.decode_len, sparsity)

    def trace(self) -> Traced:
        """Returns the model's graphs, without weights where it is large."""
        model: Transformer = load_pretrained("tiny") if self.model == "tiny" else abstract(self.model)
        with without_collection():
            return trace_model(adapt(model), HardwareSpec.load(self.system), self.workload)


@dataclass(frozen=True)
class Cell:
    """Names one point of the grid.

    Attributes:
        load: What is generated.
        policy: Name of a policy.
        num_drives: Drives, in place of those of the preset.
    """

    load: Load
    policy: str
    num_drives: int

    def __str__(self) -> str:
        load = self.load
        sparse = "" if load.ratio is None else f" 1/{load.ratio:g}"
        where = f"{load.system} x{self.num_drives}"
        tokens = f"{load.batch_size} x {load.prompt_len}+{load.decode_len}"
        return f"{load.model:<11} {self.policy:<14} {where:<16} {tokens}{sparse}"


@dataclass(frozen=True)
class Held:
    """Holds a cell's simulation against its prediction.

    Attributes:
        cell: The cell.
        predicted_s: Seconds of prefill and of all decode steps by the closed form.
        simulated_s: The same by the simulation.
        took_s: Seconds of this machine for the simulation.
    """

    cell: Cell
    predicted_s: tuple[float, float]
    simulated_s: tuple[float, float]
    took_s: float

    @property
    def error(self) -> float:
        """Returns by how much the prediction of the whole generation is off, relative to the simulation."""
        return sum(self.predicted_s) / sum(self.simulated_s) - 1.0

    @property
    def phase_errors(self) -> tuple[float, float]:
        """Returns the same of prefill and decode."""
        pairs = zip(self.predicted_s, self.simulated_s, strict=True)
        prefill, decode = (p / s - 1.0 if s else 0.0 for p, s in pairs)
        return prefill, decode


def loads() -> list[Load]:
    """Returns every load of the grid, each model on the systems that are made for it."""
    large = product(MODELS, SYSTEMS, BATCHES, CONTEXTS, RATIOS)
    small = product(("tiny",), ("demo",), BATCHES[:4], TINY_CONTEXTS, RATIOS)
    return [Load(m, s, b, *c, r) for m, s, b, c, r in (*large, *small)]


def drawn(num_loads: int, seed: int) -> Iterator[tuple[Load, list[Cell]]]:
    """Yields loads drawn from the grid, one in ten of them of the tiny model, with some cells of each.

    An equal seed gives equal loads; a larger number the same and others.
    """
    random = np.random.default_rng(seed)
    order = list(random.permutation(np.array(loads(), object)))
    small = iter([load for load in order if load.model == "tiny"])
    large = iter([load for load in order if load.model != "tiny"])
    for number in range(num_loads):
        load = next(small, None) if number % 10 == 9 else next(large, None)
        if load is None:
            return
        counts = FIXED | ({"auto": 1} if number % SEARCHED_SHARE == 0 else {})
        yield (
            load,
            [
                Cell(load, policy, int(drives))
                for policy, count in counts.items()
                for drives in random.permutation(np.array(DRIVES))[:count]
            ],
        )


def hold(cell: Cell, traced: Traced) -> Held | None:
    """Returns a cell's times; None where no plan fits, or a drive refuses it."""
    hw = HardwareSpec.load(cell.load.system).with_drives(cell.num_drives)
    try:
        with without_collection():
            planner = Planner(traced, hw, cell.load.workload, cell.policy, OBJECTIVES[TOKENS_PER_SECOND])
            plan = planner.plan(planner.solve())
        predicted_s = plan.prefill_seconds, plan.total_decode_seconds
        began_s = time.perf_counter()
        run = simulate(plan)
    except (PartitionError, SessionError):
        return None
    return Held(cell, predicted_s, (run.prefill_s, run.decode_s), time.perf_counter() - began_s)


def worst(found: Sequence[Held], count: int) -> list[Held]:
    """Returns the cells whose predictions are off the most."""
    return sorted(found, key=lambda held: -abs(held.error))[:count]
