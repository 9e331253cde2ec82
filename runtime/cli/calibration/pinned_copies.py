"""Measures copies between pinned host memory and a device with memory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import numpy as np
from jax.sharding import SingleDeviceSharding
from scipy.optimize import nnls

from runtime.cli.calibration.stopwatch import seconds_of
from runtime.jax_device import JaxDevice
from runtime.pinned import pinned


@dataclass(frozen=True)
class CopySample:
    """Holds copies of one size, each waited for.

    Attributes:
        num_bytes: Bytes.
        to_device_s: Seconds from pinned host memory to the device.
        from_device_s: Seconds back.
        at_once_s: Seconds of one each way, begun together.
    """

    num_bytes: int
    to_device_s: float
    from_device_s: float
    at_once_s: float

    @property
    def slower_s(self) -> float:
        """Returns the seconds of the slower way."""
        return max(self.to_device_s, self.from_device_s)


def measure_pinned_copies(
    device: JaxDevice, sizes: tuple[int, ...], budget_s: float
) -> tuple[CopySample, ...]:
    """Times copies of the given sizes in bytes, multiples of four."""
    in_host = pinned(device)
    own = SingleDeviceSharding(device)
    found: list[CopySample] = []
    for size in sizes:
        there = jax.block_until_ready(jax.device_put(np.ones(size // 4, np.float32), own))
        here = jax.block_until_ready(jax.device_put(there, in_host))

        send, fetch = partial(jax.device_put, here, own), partial(jax.device_put, there, in_host)
        ways = ((send,), (fetch,), (send, fetch))
        found.append(CopySample(size, *(seconds_of(partial(_copy, way), budget_s) for way in ways)))
    return tuple(found)


def _copy(ways: Sequence[Callable[[], jax.Array]]) -> None:
    """Begins copies, and waits for all of them."""
    jax.block_until_ready([begin() for begin in ways])


def fit_copies(samples: tuple[CopySample, ...]) -> tuple[float, float]:
    """Returns rate and latency for which ``latency_s + bytes / bytes_per_s`` is closest to the slower ways, in shares."""
    seconds = np.array([sample.slower_s for sample in samples])
    columns = np.array([[1.0, sample.num_bytes] for sample in samples])
    scale = columns.max(axis=0)
    (latency_s, inverse), _ = nnls(columns / scale / seconds[:, None], np.ones(len(seconds)))
    return float(scale[1] / inverse), float(latency_s)
