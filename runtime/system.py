"""The devices, links and caches behind a plan, on one clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from partitioner.plan.bind import BoundModel, StoredValue
from partitioner.plan.plan import Plan
from runtime.cache_homes import check_shares
from runtime.csd import DriveError
from runtime.devices.gpu import make_gpu
from runtime.devices.host import make_host
from runtime.drive_pool import DrivePool
from runtime.drive_tasks import drive_tasks
from runtime.errors import SessionError
from runtime.event_log import EventLog
from runtime.jax_device import has_own_memory
from runtime.links import Links
from runtime.pace import Pace
from runtime.pinned import is_pinned, pinned, streamed_from_host
from runtime.share_caches import ShareCaches
from runtime.states import States
from runtime.weight_packs import concatenate, find_packs, take_packs


class System:
    """Brings up what a plan runs on.

    Args:
        plan: Says what is needed.
        pace: The clock, and how work relates to it.
        log: Takes what happens.
        pool: The session's drives.

    Attributes:
        pace: The clock, and how work relates to it.
        log: What happened.
        processors: ``gpu0``, which stands for all GPUs, and ``host``.
        drives: The drives that hold a cache.
        links: Every link direction.
        states: Whole caches on processors.
        share_caches: Parts of shared caches on processors.
        packs: Parameters that are kept as one, by processor.

    Raises:
        SessionError: The plan wants more GPUs than JAX has, or a drive cannot hold what it is to hold.
    """

    def __init__(self, plan: Plan, pace: Pace, log: EventLog, pool: DrivePool) -> None:
        check_shares(plan)
        self.pace = pace
        self.log = log
        parallel = plan.decode.graph.parallel
        gpu = make_gpu(plan.hw, pace, log, {} if parallel is None else parallel.axes)
        self.processors = {p.name: p for p in (gpu, make_host(plan.hw, pace, log))}
        try:
            self.drives = {name: pool.take(name, task) for name, task in drive_tasks(plan).items()}
        except DriveError as error:
            raise SessionError(f"a drive cannot hold its caches: {error}") from error
        # a GPU's part of concatenated columns is not what its parts of the columns are concatenated
        packing = [p for p in self.processors.values() if has_own_memory(p.device) and not p.axes]
        self.packs = {p.name: find_packs(plan, p.name) for p in packing}
        self.links = Links(plan.hw, log)
        gpu = self.processors["gpu0"].device
        pins = has_own_memory(gpu) and not isinstance(gpu, Mesh)
        self._streamed = streamed_from_host(plan) if pins else frozenset[str]()
        self.states = States(plan, self.processors, self._streamed)
        self.share_caches = ShareCaches(plan, self.processors)

    def load(
        self,
        plan: Plan,
        model: BoundModel,
        progress: Callable[[int, int], None],
        placed: Mapping[str, Mapping[str, jax.Array]],
    ) -> None:
        """Places every parameter on the devices that keep it.

        What is still in a file is read one parameter at a time, and the next one only once this one is in its place: beyond
        the devices' memory, the host holds no more than that.

        Args:
            plan: Says which devices those are.
            model: Its parameters.
            progress: Told of bytes done and bytes in all.
            placed: What lies on devices already, by device and name; it is not moved again.

        Raises:
            SessionError: One lives on a device that computes nothing, or cannot be read.
        """
        done, total = 0, sum(value.nbytes for value in model.params.values())
        packed = {
            device: take_packs(self.processors[device].weights, packs, placed.get(device, {}))
            for device, packs in self.packs.items()
        }
        for name, value in model.params.items():
            progress(done, total)
            kept_on = (plan.homes[name], *plan.copies.get(name, ()))
            missing = []
            for device in kept_on:
                if device not in self.processors:
                    raise SessionError(
                        f"the plan keeps the parameter {name!r} on {device}; weights can live on "
                        f"{' and '.join(self.processors)}, so partition with one of those as their home"
                    )
                if name in packed.get(device, ()):
                    continue
                there = placed.get(device, {}).get(name)
                if there is not None and is_pinned(there) == self._is_pinned(device, name):
                    self.processors[device].weights[name] = there
                else:
                    missing.append(self.processors[device])
            if missing:
                values = _values(name, value)
                for processor in missing:
                    if self._is_pinned(processor.name, name):
                        where = pinned(self.processors["gpu0"].device)
                        processor.weights[name] = jax.block_until_ready(jax.device_put(values, where))
                    else:
                        processor.weights.update(jax.block_until_ready(processor.place_named({name: values})))
            done += value.nbytes
        for device, packs in self.packs.items():
            concatenate(self.processors[device].weights, packs)
        progress(total, total)

    def _is_pinned(self, device: str, name: str) -> bool:
        """Tells whether a parameter lies in memory of the host that the GPU reads by itself."""
        return device == "host" and name in self._streamed

    @property
    def placed(self) -> dict[str, dict[str, jax.Array]]:
        """Parameters on devices, by device and name."""
        return {name: processor.weights for name, processor in self.processors.items()}

    def reclaim(self, micro_batch: int, slots: np.ndarray) -> None:
        """Lets drives drop what rows of a micro-batch hold; on processors, nobody reads behind the valid tokens.

        Raises:
            DriveError: A drive fails.
        """
        for drive in self.drives.values():
            drive.reclaim(micro_batch, slots)

    def clear(self) -> None:
        """Drops all tokens from all caches, and waits until the drives have erased the blocks that held them."""
        self.states.clear()
        self.share_caches.clear()
        for processor in self.processors.values():
            processor.forget()
        erased_s = [drive.clear() for drive in self.drives.values()]
        self.pace.clock.sleep_until(max(erased_s, default=0.0))


def _values(name: str, value: Any) -> Any:
    """Returns a parameter's values, read if they are still in a file.

    Raises:
        SessionError: They cannot be read.
    """
    if not isinstance(value, StoredValue):
        return value
    try:
        return value.read()
    except (OSError, ValueError) as error:
        raise SessionError(f"the parameter {name!r} cannot be read: {error}") from error
