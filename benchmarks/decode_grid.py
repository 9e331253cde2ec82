"""Seconds of one decode step of policy ``gpu-only`` over a grid of models, batches and contexts, predicted and measured.

    python -m benchmarks.decode_grid [--hw h200-csd4] [--models opt-6.7b,llama-3-8b] [--batches 1,4,16,64]
        [--contexts 512,2048,8192] [--layers N] [--out cells.json]

Nothing of a prompt is computed: steps begin on caches of random numbers, with weights of random numbers, and run as a session
runs them. Cells that the device has no room for are left out before anything of them is made. Models are given as many
positions as the contexts need.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jax
from flax import nnx

from benchmarks.decode_alone import DecodeAlone, Placed, steady_step_s
from cost_models import HardwareSpec
from models import Transformer, TransformerConfig
from partitioner import Workload, partition
from runtime.bench_machine import this_machine
from runtime.jax_device import memory_bytes

FEW, MANY, REPEATS = 4, 31, 2
"""Steps of the two loops whose difference is timed, and how often. With its first token, the longer one makes 32."""


@dataclass(frozen=True)
class Cell:
    """Holds a decode step of one model, batch and context.

    Attributes:
        model: Name of the model.
        batch: Rows.
        context: Tokens cached when the first step begins; caches have room for those of the steps besides.
        predicted_s: Seconds of a step as predicted.
        measured_s: Seconds of a step as measured.
    """

    model: str
    batch: int
    context: int
    predicted_s: float
    measured_s: float

    @property
    def error(self) -> float:
        """Returns by how much the prediction is too long, as a share of what was measured."""
        return self.predicted_s / self.measured_s - 1.0


def measure_model(
    config: TransformerConfig, hw: HardwareSpec, batches: Sequence[int], contexts: Sequence[int]
) -> Iterator[Cell]:
    """Yields the cells of one model, whose parameters are made once; those without room are told of and left out."""
    model = Transformer(config.replace(max_position=max(contexts) + MANY + 1), rngs=nnx.Rngs(0))
    placed: Placed = {}
    room = min(memory_bytes(jax.devices()[0]) or math.inf, hw.gpus[0].memory_bytes)
    for batch in batches:
        for context in contexts:
            needed = needed_bytes(model, batch, context + MANY + 1)
            if needed > room:
                print(
                    f"{config.name} {batch} x {context}: needs {needed / 1e9:.0f} of {room / 1e9:.0f} GB, left out"
                )
                continue
            plan = partition(model, hw, Workload(batch, context, MANY + 1), "gpu-only")
            with DecodeAlone(plan, model, placed) as decode:
                placed = decode.placed
                measured_s = steady_step_s(decode, FEW, MANY, REPEATS)
            predicted_s = plan.decode_seconds(plan.middle_context)
            del decode
            gc.collect()
            yield Cell(config.name, batch, context, predicted_s, measured_s)


def needed_bytes(model: Transformer, batch: int, max_len: int) -> float:
    """Returns what a decode needs room for: parameters, which products that share their input may have twice, and caches."""
    caches = jax.eval_shape(lambda: model.init_cache(batch, max_len))
    weights_bytes, cache_bytes = (
        sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
        for tree in (nnx.state(model), caches)
    )
    return 2.0 * weights_bytes + cache_bytes


def table_line(cell: Cell) -> str:
    """Returns a line of the table."""
    return (
        f"{cell.model:12}  {cell.batch:5}  {cell.context:7}  {1e3 * cell.predicted_s:12.3f}  "
        f"{1e3 * cell.measured_s:11.3f}  {cell.error:+7.1%}"
    )


def summary(cells: Sequence[Cell]) -> str:
    """Returns the line below the table: the median and the worst error, signs left aside."""
    errors = [abs(cell.error) for cell in cells]
    return (
        f"{len(cells)} cells: error {statistics.median(errors):.1%} in the median, {max(errors):.1%} at worst"
    )


def grid_json(hw: HardwareSpec, cells: Sequence[Cell]) -> str:
    """Returns cells as JSON, with the machine that they were measured on."""
    data = [asdict(cell) | {"error": cell.error} for cell in cells]
    return json.dumps({"machine": this_machine().to_dict(), "hardware": hw.name, "cells": data}, indent=2)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Prints the table, and writes it as JSON where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hw", default="h200-csd4", help="preset or TOML file that predictions are made for")
    parser.add_argument("--models", default="opt-6.7b,llama-3-8b")
    parser.add_argument("--batches", type=_numbers, default=[1, 4, 16, 64])
    parser.add_argument("--contexts", type=_numbers, default=[512, 2048, 8192])
    parser.add_argument("--layers", type=int, help="layers to keep; all by default")
    parser.add_argument("--out", type=Path, help="JSON file to write, anew with each cell")
    given = parser.parse_args()
    hw = HardwareSpec.load(given.hw)
    print(this_machine())
    print(f"predicted for {hw.name}: {hw.description}\n")
    print("model         batch  context  predicted ms  measured ms    error")
    cells: list[Cell] = []
    for name in given.models.split(","):
        config = TransformerConfig.named(name)
        config = config.replace(num_layers=given.layers or config.num_layers)
        for cell in measure_model(config, hw, given.batches, given.contexts):
            cells.append(cell)
            print(table_line(cell), flush=True)
            if given.out is not None:
                given.out.write_text(grid_json(hw, cells))
        gc.collect()
    if cells:
        print(f"\n{summary(cells)}")


if __name__ == "__main__":
    main()
