"""A processor that runs segments with JAX."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import jax
from jax.sharding import Sharding

from cost_models.components import ComputeSpec
from runtime.busy import BusyUntil
from runtime.event_log import EventLog
from runtime.jax_device import JaxDevice, has_own_memory, num_devices, sharding_on
from runtime.pace import Pace

COPIES_UNDER_WAY = 2
"""Copies to a real device that may be under way at the same time."""


class TimedDemand(Protocol):
    """What a launch demands."""

    def seconds(self, spec: ComputeSpec) -> float:
        """Returns how long a processor takes, the launch included."""
        ...


class Processor:
    """A JAX device under the name that plans give it, with the time that its work takes.

    A throttled processor takes as long as its specification says, at least. One that is not runs as it can: a GPU's work is
    only dispatched, and what it did is logged when somebody waits for a result. The host's is waited for at once: whoever
    waits for it later would do so in the lane of a link, where weights on their way to the GPU queue behind it. So is that of
    several CPU devices in place of GPUs: each exchange keeps a thread of a common pool waiting for every device, and with more
    than one execution in flight no thread may be left for the last of them.

    Attributes:
        name: ``gpu0`` or ``host``.
        spec: Its rates.
        device: Where its arrays live; a mesh for several GPUs.
        axes: On a mesh, axes along which parameters and caches are cut, by name.
        throttled: Whether time comes from the specification.
        weights: Parameters that live here, by name.
    """

    def __init__(
        self,
        name: str,
        spec: ComputeSpec,
        device: JaxDevice,
        pace: Pace,
        log: EventLog,
        axes: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.name = name
        self.spec = spec
        self.device = device
        self.axes = axes
        self.throttled = pace.throttles(spec.emulated)
        self.weights: dict[str, jax.Array] = {}
        self._at_once = spec.kind == "host" or (num_devices(device) > 1 and not has_own_memory(device))
        self._pace = pace
        self._log = log
        self._busy = BusyUntil(name)
        self._pending: list[tuple[str, str, float]] = []
        self._arriving: deque[Any] = deque()
        self._lock = threading.Lock()

    def place(self, value: Any) -> Any:
        """Returns an array, or a pytree of arrays, on this device; on a mesh, whole on each of its devices."""
        return jax.device_put(value, sharding_on(self.device))

    def place_named(self, values: Mapping[str, Any]) -> dict[str, jax.Array]:
        """Returns parameters or caches on this device, as their names have them cut."""
        return {name: jax.device_put(value, self.sharding_of(name)) for name, value in values.items()}

    def sharding_of(self, name: str) -> Sharding:
        """Returns how a parameter or a cache lies here."""
        return sharding_on(self.device, self.axes.get(name))

    def arrive(self, arrays: Any) -> None:
        """Takes arrays whose copies to this device have just begun, one call after the other.

        An emulated device waits for them. A real one lets what reads them wait, so that the link need not: while that is busy
        with one copy, the next one is there already. It waits for those before, so that no more than two are under way.
        """
        if self.throttled:
            self._pace.settle(arrays)
            return
        self._arriving.append(arrays)
        if len(self._arriving) > COPIES_UNDER_WAY:
            self._await(self._arriving.popleft())

    def _await(self, arrays: Any) -> None:
        """Waits for copies; one that is gone was given, for good, to an executable that waits for it."""
        for array in jax.tree.leaves(arrays):
            try:
                self._pace.settle(array)
            except RuntimeError:
                if not array.is_deleted():
                    raise

    def forget(self) -> None:
        """Leaves unlogged what was dispatched and never waited for, and lets go of what was copied here."""
        self._arriving.clear()
        with self._lock:
            self._pending.clear()

    def account(
        self, outputs: Any, demands: Sequence[TimedDemand], start_s: float, name: str, phase: str
    ) -> float:
        """Takes the time for work whose outputs were just dispatched.

        Args:
            outputs: Arrays that the work makes.
            demands: What each of its launches demands.
            start_s: When it could start.
            name: What the log calls it.
            phase: ``prefill`` or ``decode``.

        Returns:
            When its outputs may be used.
        """
        if not self.throttled:
            with self._lock:
                self._pending.append((name, phase, start_s))
            return self.wait_for(outputs, start_s) if self._at_once else self._pace.clock.now_s()
        self._pace.settle(outputs)
        begin_s, end_s = self._busy.reserve(start_s, sum(d.seconds(self.spec) for d in demands))
        end_s = self._pace.finish(begin_s, end_s)
        self._log.add(self.name, name, phase, begin_s, end_s)
        return end_s

    def wait_for(self, values: Any, ready_s: float) -> float:
        """Waits until values that were made here exist, and returns when they may be used."""
        self._pace.settle(values)
        if self.throttled:
            return ready_s
        now_s = self._pace.clock.now_s()
        self._log_pending(now_s)
        return max(ready_s, now_s)

    def _log_pending(self, end_s: float) -> None:
        """Logs what was dispatched since somebody last waited, as one use: single ends are not known."""
        with self._lock:
            pending, self._pending = self._pending, []
        if pending:
            (first, phase, start_s), last = pending[0], pending[-1][0]
            name = first if len(pending) == 1 else f"{first} .. {last} ({len(pending)} runs)"
            self._log.add(self.name, name, phase, start_s, end_s)
