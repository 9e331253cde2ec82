"""What it costs to hand one layer's q, k, v from the real device to threads of the host, and a result of theirs back.

    python -m benchmarks.hand_over [--batch 16] [--hidden 5120] [--rounds 12] [--repeats 20]

A first executable makes q, k, v ``[batch, hidden]`` of a hidden state, a second one goes on with the host's result. Each way is
timed as a whole; what is beyond the two executables, each waited for as a host that reads has to, is the hand-over. Ways are
timed in turns, so that a busy minute of the host counts for all alike: in each round the median of some repeats is taken, and
of the rounds the median.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import SingleDeviceSharding

from runtime.bench_machine import this_machine
from runtime.bench_spread import spread
from runtime.hand_over import PinnedHandOver

WARM_UPS = 5
Way = tuple[str, Callable[[], Any]]


def ways(batch_size: int, hidden: int) -> Iterator[Way]:
    """Yields every way, first what is no hand-over; each checks once that the host sees q, k and v."""
    device = jax.devices()[0]
    own = SingleDeviceSharding(device)
    pinned = SingleDeviceSharding(device, memory_kind="pinned_host")
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (batch_size, hidden), jnp.float16)
    weights = jax.random.normal(keys[1], (hidden, 3 * hidden), jnp.float16) * 0.01
    out = jax.random.normal(keys[2], (hidden, hidden), jnp.float16) * 0.01

    def project(x: jax.Array, weights: jax.Array) -> list[jax.Array]:
        return jnp.split(x @ weights, 3, axis=1)

    def go_on(result: jax.Array, out: jax.Array) -> jax.Array:
        return result.astype(jnp.float16) @ out

    first, second = jax.jit(project), jax.jit(go_on)
    expected = [np.asarray(a) for a in first(x, weights)]
    result = np.asarray(x, np.float32)

    def seen(arrays: list[np.ndarray]) -> None:
        for array, wanted in zip(arrays, expected, strict=True):
            np.testing.assert_allclose(
                array, wanted, rtol=1e-2, atol=1e-2
            )  # a packed product may round otherwise

    def waited_for() -> Any:
        return second(jax.block_until_ready(first(x, weights))[0], out)

    yield "both executables, each waited for, nothing handed over", waited_for
    yield "both executables, chained on the device", lambda: second(first(x, weights)[0], out)

    def by_array() -> Any:
        arrays = [np.asarray(a) for a in first(x, weights)]
        return arrays, second(jax.device_put(result, device), out)

    seen(by_array()[0])
    yield "np.asarray of each, device_put of the result", by_array

    packed = jax.jit(lambda x, w: x @ w)

    def by_packed_array() -> Any:
        arrays = np.split(np.asarray(packed(x, weights)), 3, axis=1)
        return arrays, second(jax.device_put(result, device), out)

    seen(by_packed_array()[0])
    yield "np.asarray of one packed output, device_put of the result", by_packed_array

    to_host = jax.jit(lambda x, w: x @ w, out_shardings=pinned)

    def by_pinned_output() -> Any:
        arrays = np.split(np.asarray(jax.block_until_ready(to_host(x, weights))), 3, axis=1)
        return arrays, second(jax.device_put(result, device), out)

    seen(by_pinned_output()[0])
    yield "packed output in pinned memory, device_put of the result", by_pinned_output

    way = PinnedHandOver(device)
    send = way.sender([jax.ShapeDtypeStruct(a.shape, a.dtype) for a in expected])
    returned = way.returned(result.shape)
    load = jax.jit(way.load, in_shardings=pinned, out_shardings=own)
    reads_pinned = jax.jit(
        lambda given, out: go_on(way.load(given), out), in_shardings=(pinned, own), out_shardings=own
    )

    def in_place() -> Any:
        arrays = np.split(np.asarray(jax.block_until_ready(to_host(x, weights))), 3, axis=1)
        returned.host[:] = result
        return arrays, reads_pinned(returned.given(), out)

    seen(in_place()[0])
    yield (
        "packed output in pinned memory, result in place, both in the executables (what sessions do)",
        in_place,
    )

    def of_the_runtime() -> Any:
        sent = send(first(x, weights))
        jax.block_until_ready(sent.pending)
        arrays = sent.arrays()
        returned.host[:] = result
        return arrays, second(load(returned.given()), out)

    seen(of_the_runtime()[0])
    yield "packed behind the executable, result in place", of_the_runtime


def median_ms(run: Callable[[], Any], repeats: int) -> float:
    """Returns the median time of a way, its result waited for."""
    found = []
    for number in range(repeats + WARM_UPS):
        start = time.perf_counter()
        jax.block_until_ready(run())
        if number >= WARM_UPS:
            found.append(time.perf_counter() - start)
    return 1e3 * statistics.median(found)


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--hidden", type=int, default=5120)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--repeats", type=int, default=20, help="of each way in a round")
    given = parser.parse_args()
    print(this_machine())
    print(
        f"q, k, v {[given.batch, given.hidden]} float16, result float32, "
        f"{given.rounds} rounds of {given.repeats} repeats\n"
    )
    found = list(ways(given.batch, given.hidden))
    rounds = [[median_ms(run, given.repeats) for _, run in found] for _ in range(given.rounds)]
    print("  whole ms  spread  hand-over ms      least   most  way")
    for number, (name, _) in enumerate(found):
        whole = [times[number] for times in rounds]
        beyond = [times[number] - times[0] for times in rounds]
        print(
            f"{statistics.median(whole):10.3f}  {spread(whole):6.1%}  {statistics.median(beyond):12.3f}"
            f"  {min(beyond):9.3f} {max(beyond):6.3f}  {name}"
        )


if __name__ == "__main__":
    main()
