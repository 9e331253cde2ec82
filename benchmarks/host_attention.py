"""How fast the host's attention reads K and V, next to how fast this machine's memory can be read.

    python -m benchmarks.host_attention [--rows 16] [--heads 40] [--kv-heads 40] [--tokens 2048] [--repeats 9]

GB/s are bytes of K and V over seconds, median and spread of the repeats; the ratio is to the faster of two reads of a large
float32 array on as many cores: numpy's sum (one core, by itself) and a parallel sum compiled by numba.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numba
import numpy as np

from runtime.bench_machine import this_machine
from runtime.bench_spread import spread
from runtime.core_threads import num_cores
from runtime.host_attention import attend_host

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
READ_BYTES = 1 << 30


def _sum(array: np.ndarray) -> float:
    total = np.float32(0.0)
    for i in numba.prange(array.size):
        total += array[i]
    return float(total)


_parallel_sum: Any = numba.njit(parallel=True, fastmath=True)(_sum)


def rates(run: Callable[[], object], num_bytes: int, repeats: int) -> list[float]:
    """Returns GB/s of every repeat, after one that does not count."""
    run()
    found: list[float] = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        found.append(num_bytes / (time.perf_counter() - start) / 1e9)
    return found


def shown(found: list[float]) -> str:
    """Returns median and spread."""
    median = statistics.median(found)
    return f"{median:8.2f}  {spread(found):6.1%}"


def cores_tried(limit: int) -> list[int]:
    """Returns 1, 2, 4, ... and all cores."""
    return sorted({min(2**i, limit) for i in range(limit.bit_length())} | {limit})


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--heads", type=int, default=40)
    parser.add_argument("--kv-heads", type=int, default=40)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--head-size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    print(this_machine())
    print(f"numba {numba.__version__}, numpy {np.__version__}, {num_cores()} cores")
    shape = (given.rows, given.kv_heads, given.tokens, given.head_size)
    print(f"K and V {list(shape)}, {given.heads} query heads, {given.repeats} repeats\n")
    rng = np.random.default_rng(0)
    memory = np.ones(READ_BYTES // 4, np.float32)
    pairs: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name, dtype in DTYPES.items():
        pairs[name] = (np.empty(shape, dtype), np.empty(shape, dtype))
        for cache in pairs[name]:
            for row in cache:
                row[:] = rng.standard_normal(row.shape, dtype=np.float32)
    query = rng.standard_normal((given.rows, given.heads, given.head_size), dtype=np.float32)
    lengths = np.full(given.rows, given.tokens)
    scale = given.head_size**-0.5
    plain = rates(memory.sum, memory.nbytes, given.repeats)
    print(f"numpy sum, one core: {shown(plain)}\n")
    print("cores  dtype     attention GB/s  spread  parallel sum GB/s  spread  ratio")
    for cores in cores_tried(num_cores()):
        numba.set_num_threads(cores)
        read = rates(lambda: _parallel_sum(memory), memory.nbytes, given.repeats)
        best = max(statistics.median(read), statistics.median(plain) if cores == 1 else 0.0)
        for name, pair in pairs.items():
            attend = rates(
                lambda pair=pair, cores=cores: attend_host(query, pair, lengths, scale, cores),
                pair[0].nbytes + pair[1].nbytes,
                given.repeats,
            )
            ratio = statistics.median(attend) / best
            print(
                f"{cores:5}  {name:8}        {shown(attend)}           {shown(read)}  {ratio:5.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
