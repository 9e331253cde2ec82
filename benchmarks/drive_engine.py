"""How fast the drive's engine computes here: dense attention next to a read of memory, SparF next to dense attention.

    python -m benchmarks.drive_engine [--rows 4] [--heads 40] [--kv-heads 40] [--tokens 2048] [--head-size 128]
        [--repeats 31] [--check]

Everything goes through the mapping tables, as commands of a drive that is not throttled. GB/s are bytes of K and V that dense
attention reads over seconds. The read of memory is numpy's sum over a large float32 array (one core, by itself). SparF reads
r = D/8 channels and k = S/16 tokens, 1/8 of the bytes.

Each repeat times all of them, one after the other, so that they meet the same machine; best and median are over the repeats,
and the spread is (max - min) / median. Bars: dense at least 0.8 of the read, SparF at most 0.4 of the time of dense attention,
both by the best repeats, since whatever else runs on the machine only ever adds time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

import ml_dtypes
import numpy as np

from cost_models import HardwareSpec
from runtime.bench_machine import this_machine
from runtime.bench_spread import spread
from runtime.core_threads import num_cores
from runtime.csd import Attend, Configure, Drive, Sparse, Write

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
MEMORY_BYTES = 512 << 20
DENSE_OF_MEMORY = 0.8
SPARSE_OF_DENSE = 0.4


def filled_drive(given: argparse.Namespace, dtype: np.dtype) -> Drive:
    """Returns a drive that holds one layer of random K and V, by token and K by channel."""
    drive = Drive(HardwareSpec.load("a6000-csd").drives[0])
    drive.execute(
        Configure(
            1, given.kv_heads, given.heads, given.head_size, dtype, given.rows, given.tokens, channel_group=8
        ),
        0.0,
    )
    rng = np.random.default_rng(0)
    shape = (1, given.kv_heads, given.tokens, given.head_size)
    for row in range(given.rows):
        key, value = (rng.standard_normal(shape, dtype=np.float32).astype(dtype) for _ in range(2))
        drive.execute(Write(0, key, value, np.array([0]), rows=np.array([row])), 0.0)
    return drive


def seconds_of(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Returns the seconds of every repeat of each run, after one that does not count."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if repeat:
                found[name].append(time.perf_counter() - start)
    return found


def measure(given: argparse.Namespace, name: str, memory: np.ndarray) -> bool:
    """Measures with one element type, prints a line, and returns whether the bars are met."""
    dtype = np.dtype(DTYPES[name])
    drive = filled_drive(given, dtype)
    rng = np.random.default_rng(1)
    query = rng.standard_normal((given.rows, given.heads, given.head_size), dtype=np.float32)
    lengths = np.full(given.rows, given.tokens)
    chosen = np.full(given.rows, given.tokens // 16)
    sparse = Sparse(given.head_size // 8, chosen, chosen // 4, mean_value=given.heads == given.kv_heads)

    def attend(how: Sparse | None) -> Callable[[], object]:
        command = Attend(0, query, None, None, lengths, given.head_size**-0.5, sparse=how)
        return lambda: drive.execute(command, 0.0)

    found = seconds_of({"memory": memory.sum, "dense": attend(None), "sparse": attend(sparse)}, given.repeats)
    kv_bytes = 2 * given.rows * given.kv_heads * given.tokens * given.head_size * dtype.itemsize
    rates = {
        "memory": [memory.nbytes / seconds / 1e9 for seconds in found["memory"]],
        "dense": [kv_bytes / seconds / 1e9 for seconds in found["dense"]],
    }
    of_memory = max(rates["dense"]) / max(rates["memory"])
    of_dense = min(found["sparse"]) / min(found["dense"])
    shown = "  ".join(
        f"{max(rate):5.1f} {statistics.median(rate):5.1f} {spread(rate):4.0%}" for rate in rates.values()
    )
    times = "  ".join(
        f"{min(found[kind]) * 1e3:6.2f} {statistics.median(found[kind]) * 1e3:6.2f}"
        for kind in ("dense", "sparse")
    )
    print(f"{name:8}  {shown}  {of_memory:9.2f}  {times}  {of_dense:10.2f}", flush=True)
    return of_memory >= DENSE_OF_MEMORY and of_dense <= SPARSE_OF_DENSE


def main() -> None:
    """Prints a table; with ``--check``, ends with an error where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--heads", type=int, default=40)
    parser.add_argument("--kv-heads", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--head-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    print(this_machine())
    print(f"{num_cores()} cores, load average {os.getloadavg()[0]:.1f} before")
    print(
        f"{given.rows} sequences x {given.tokens} tokens, {given.heads} query heads, {given.kv_heads} KV heads of "
        f"{given.head_size}; SparF with r = {given.head_size // 8} and k = {given.tokens // 16}; {given.repeats} repeats\n"
    )
    memory = np.ones(MEMORY_BYTES // 4, np.float32)
    print("          memory GB/s       dense GB/s        dense /    dense ms       sparse ms      sparse /")
    print("dtype      best   med sprd   best   med sprd    memory    best    med    best    med       dense")
    met = [measure(given, name, memory) for name in DTYPES]
    print(f"\nbars: dense / memory >= {DENSE_OF_MEMORY}, sparse / dense <= {SPARSE_OF_DENSE}")
    if given.check and not all(met):
        sys.exit("a bar is missed; measure again on a quiet machine before believing it")


if __name__ == "__main__":
    main()
