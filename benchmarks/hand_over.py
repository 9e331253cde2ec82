"""What it costs to hand one layer's q, k, v from the real device to threads of the host, and a result of theirs back.

    python -m benchmarks.hand_over [--batch 16] [--hidden 5120] [--rounds 12] [--repeats 20]

A layer takes the host's result and makes q, k, v ``[batch, hidden]``, in one executable as in a session, or in two. Each way is
timed as a whole; what is beyond the same executables with everything in the device's memory, each waited for as a host that
reads has to, is the hand-over. Ways are timed in turns, so that a busy minute of the host counts for all alike: in each round
the median of some repeats is taken, and of the rounds the median.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import SingleDeviceSharding

from runtime.bench_machine import this_machine
from runtime.bench_spread import spread
from runtime.hand_over import PinnedHandOver

WARM_UPS = 5


@dataclass(frozen=True)
class Way:
    """Stores one way to run a layer.

    Attributes:
        name: What it does.
        run: Does it, and returns what to wait for.
        base: Name of the way that hands nothing over; None for such a way.
    """

    name: str
    run: Callable[[], Any]
    base: str | None = None


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

    def layer(result: jax.Array, out: jax.Array, weights: jax.Array) -> list[jax.Array]:
        return project(go_on(result, out), weights)

    first, second, both = jax.jit(project), jax.jit(go_on), jax.jit(layer)
    expected = [np.asarray(a) for a in first(x, weights)]
    result = np.asarray(x, np.float32)
    there = jax.device_put(result, device)
    expected_of_layer = [np.asarray(a) for a in both(there, out, weights)]

    def check(arrays: list[np.ndarray], expected: list[np.ndarray]) -> None:
        for array, wanted in zip(arrays, expected, strict=True):  # a packed product may round otherwise
            np.testing.assert_allclose(array, wanted, rtol=1e-2, atol=2e-2)

    way = PinnedHandOver(device)
    shapes = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in expected]
    returned = way.returned(result.shape)

    one = "one executable a layer, waited for, nothing handed over"
    yield Way(one, lambda: both(there, out, weights))

    packer = way.packer(shapes)
    assert packer is not None, "a device with memory of its own packs"
    joined = jax.jit(lambda given, out, weights: packer.pack(*layer(way.load(given), out, weights)))

    def in_one() -> Any:
        returned.host[:] = result
        sent = packer.sent(joined(returned.given(), out, weights))
        jax.block_until_ready(sent.pending)
        return sent.arrays()

    check(in_one(), expected_of_layer)
    yield Way(
        "packed into pinned memory and the result read in place by that executable (sessions)", in_one, one
    )

    two = "two executables, each waited for, nothing handed over"
    yield Way(two, lambda: second(jax.block_until_ready(first(x, weights))[0], out))
    yield Way("two executables, chained on the device", lambda: second(first(x, weights)[0], out), two)

    def by_array() -> Any:
        arrays = [np.asarray(a) for a in first(x, weights)]
        return arrays, second(jax.device_put(result, device), out)

    check(by_array()[0], expected)
    yield Way("np.asarray of each, device_put of the result", by_array, two)

    packed = jax.jit(lambda x, w: x @ w)

    def by_packed_array() -> Any:
        arrays = np.split(np.asarray(packed(x, weights)), 3, axis=1)
        return arrays, second(jax.device_put(result, device), out)

    check(by_packed_array()[0], expected)
    yield Way("np.asarray of one packed output, device_put of the result", by_packed_array, two)

    pack = jax.jit(lambda x, weights: packer.pack(*project(x, weights)))

    def fetched() -> list[np.ndarray]:
        sent = packer.sent(pack(x, weights))
        jax.block_until_ready(sent.pending)
        return sent.arrays()

    def by_pinned_output() -> Any:
        arrays = fetched()
        return arrays, second(jax.device_put(result, device), out)

    check(by_pinned_output()[0], expected)
    yield Way("packed output in pinned memory, device_put of the result", by_pinned_output, two)

    reads_pinned = jax.jit(
        lambda given, out: go_on(way.load(given), out), in_shardings=(pinned, own), out_shardings=own
    )

    def in_place() -> Any:
        arrays = fetched()
        returned.host[:] = result
        return arrays, reads_pinned(returned.given(), out)

    check(in_place()[0], expected)
    yield Way("packed output in pinned memory, result in place, both in the executables", in_place, two)

    send = way.sender(shapes)
    load = jax.jit(way.load, in_shardings=pinned, out_shardings=own)

    def behind() -> Any:
        sent = send(first(x, weights))
        jax.block_until_ready(sent.pending)
        arrays = sent.arrays()
        returned.host[:] = result
        return arrays, second(load(returned.given()), out)

    check(behind()[0], expected)
    yield Way("packed behind the executable, result in place", behind, two)


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
    rounds = [{w.name: median_ms(w.run, given.repeats) for w in found} for _ in range(given.rounds)]
    print("  whole ms  spread  hand-over ms      least   most  way")
    for way in found:
        whole = [times[way.name] for times in rounds]
        line = f"{statistics.median(whole):10.3f}  {spread(whole):6.1%}"
        if way.base is None:
            print(f"{line}  {'':12}  {'':9} {'':6}  {way.name}")
            continue
        beyond = [times[way.name] - times[way.base] for times in rounds]
        print(f"{line}  {statistics.median(beyond):12.3f}  {min(beyond):9.3f} {max(beyond):6.3f}  {way.name}")


if __name__ == "__main__":
    main()
