"""How arrays get from a device to the threads of the host and back, within a step.

A device with memory of its own packs what it sends and copies it once into pinned host memory, which threads read in place.
What comes back is written into a pinned buffer that lives as long as the plan, and read from there by the executable that needs
it. Where a device computes from the host's memory there is nothing to copy but what comes back.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np
from jax import numpy as jnp
from jax.sharding import Mesh, Sharding, SingleDeviceSharding

from runtime.executables import compile_for
from runtime.jax_device import JaxDevice, first_of, has_own_memory, sharding_on
from runtime.pinned import PinnedArray, pinned


@dataclass(frozen=True, eq=False)
class Sent:
    """Holds arrays on their way to the host.

    Attributes:
        pending: What to wait for.
        arrays: Returns them, read-only, once they are there.
    """

    pending: Any
    arrays: Callable[[], list[np.ndarray]]


Send = Callable[[Sequence[jax.Array]], Sent]


class Returned(Protocol):
    """A float32 array that threads of the host write, and an executable reads.

    It must not be written again before what made the next values has waited for a result of that executable.

    Attributes:
        host: The array, to be written in place.
    """

    host: np.ndarray

    def given(self) -> jax.Array:
        """Returns the argument that the executable takes for it."""
        ...


class Packer:
    """Packs arrays by dtype into pinned memory, within an executable.

    Args:
        shapes: Of the arrays.
        sharding: Of the pinned memory.

    Attributes:
        key: Equal for packers that pack alike.
    """

    def __init__(self, shapes: Sequence[jax.ShapeDtypeStruct], sharding: Sharding) -> None:
        self._shapes, self._sharding = tuple(shapes), sharding
        self._by_dtype: dict[Any, list[int]] = {}
        for index, shape in enumerate(shapes):
            self._by_dtype.setdefault(np.dtype(shape.dtype), []).append(index)
        self.key = tuple((s.shape, str(s.dtype)) for s in shapes)
        self._cuts = [
            list(zip(found, *_cuts([math.prod(shapes[i].shape) for i in found]), strict=True))
            for found in self._by_dtype.values()
        ]

    def pack(self, *values: jax.Array) -> list[jax.Array]:
        """Returns one buffer for each dtype."""
        together = (jnp.concatenate([values[i].ravel() for i in found]) for found in self._by_dtype.values())
        return [jax.device_put(packed, self._sharding) for packed in together]

    def sent(self, packs: Sequence[jax.Array]) -> Sent:
        """Returns what was packed, on its way."""
        return Sent(packs, lambda: self._unpacked(packs))

    def _unpacked(self, packs: Sequence[jax.Array]) -> list[np.ndarray]:
        found: dict[int, np.ndarray] = {}
        for packed, cuts in zip(packs, self._cuts, strict=True):
            values = np.asarray(packed)
            for index, begin, end in cuts:
                found[index] = values[begin:end].reshape(self._shapes[index].shape)
        return [found[i] for i in range(len(self._shapes))]


def _cuts(sizes: Sequence[int]) -> tuple[list[int], list[int]]:
    """Returns where arrays of some sizes begin and end in one that holds them in a row."""
    ends = list(itertools.accumulate(sizes))
    return [0, *ends[:-1]], ends


class HandOver(Protocol):
    """A way between one device and the threads of the host."""

    def packer(self, shapes: Sequence[jax.ShapeDtypeStruct]) -> Packer | None:
        """Returns what packs arrays in the executable that makes them; None where that is not done."""
        ...

    def sender(self, shapes: Sequence[jax.ShapeDtypeStruct]) -> Send:
        """Returns what sends arrays of given shapes and dtypes."""
        ...

    def returned(self, shape: tuple[int, ...]) -> Returned:
        """Returns an array for what comes back, all zeros."""
        ...

    def shape_of(self, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
        """Returns the abstract argument that an executable takes for what comes back."""
        ...

    def load(self, given: jax.Array) -> jax.Array:
        """Returns the values of such an argument within an executable."""
        ...


def hand_over_of(device: JaxDevice) -> HandOver:
    """Returns the way for a device."""
    if not has_own_memory(device):
        return DirectHandOver(device)
    return MeshHandOver(device) if isinstance(device, Mesh) else PinnedHandOver(device)


def fetch(array: Any, cut: Callable[[Any], Any] = lambda array: array) -> np.ndarray:
    """Returns what ``cut`` takes of an array, in the host's memory.

    A device with memory of its own cuts it there, and copies the part into pinned memory: into pageable memory it would copy at
    a fraction of the link's rate.
    """
    devices = array.devices() if isinstance(array, jax.Array) else ()
    if len(devices) > 1 and has_own_memory(next(iter(devices))):
        # cut there, its parts would be exchanged
        array = jax.device_put(array, array.sharding.with_memory_kind("pinned_host"))
        return cut(np.asarray(array))
    for device in devices:
        if has_own_memory(device):
            array = jax.device_put(cut(array), pinned(device))
            return np.asarray(array)
    return cut(np.asarray(array))


class DirectHandOver:
    """The way of a device that computes from the host's memory.

    Args:
        device: The device.
    """

    def __init__(self, device: JaxDevice) -> None:
        self._sharding = sharding_on(device)

    def packer(self, shapes: Sequence[jax.ShapeDtypeStruct]) -> Packer | None:
        """Returns none: arrays are read where they are made, or by one of several devices."""

    def sender(self, shapes: Sequence[jax.ShapeDtypeStruct]) -> Send:
        """Returns what sends arrays; see :meth:`HandOver.sender`."""
        return lambda values: Sent(values, lambda: [np.asarray(v) for v in values])

    def returned(self, shape: tuple[int, ...]) -> Returned:
        """Returns an array for what comes back; see :meth:`HandOver.returned`."""
        return _Copied(np.zeros(shape, np.float32), self._sharding)

    def shape_of(self, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
        """Returns an abstract argument; see :meth:`HandOver.shape_of`."""
        return jax.ShapeDtypeStruct(shape, np.float32, sharding=self._sharding)

    def load(self, given: jax.Array) -> jax.Array:
        """Returns the argument."""
        return given


class PinnedHandOver:
    """The way of a device with memory of its own.

    Args:
        device: The device.
    """

    def __init__(self, device: JaxDevice) -> None:
        self._device = device
        self._own = SingleDeviceSharding(device)
        self._pinned = pinned(device)

    def packer(self, shapes: Sequence[jax.ShapeDtypeStruct]) -> Packer | None:
        """Returns what packs arrays; see :meth:`HandOver.packer`."""
        return Packer(shapes, self._pinned)

    def sender(self, shapes: Sequence[jax.ShapeDtypeStruct]) -> Send:
        """Returns what sends arrays, packed by dtype; see :meth:`HandOver.sender`."""
        packer = Packer(shapes, self._pinned)
        given = [jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=self._own) for s in shapes]
        run = compile_for(self._device, packer.pack, given, ())
        return lambda values: packer.sent(run(*values))

    def returned(self, shape: tuple[int, ...]) -> Returned:
        """Returns an array for what comes back; see :meth:`HandOver.returned`."""
        return _InPlace(PinnedArray(shape, np.float32, self._device))

    def shape_of(self, shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
        """Returns an abstract argument in pinned memory; see :meth:`HandOver.shape_of`."""
        return jax.ShapeDtypeStruct(shape, np.float32, sharding=self._pinned)

    def load(self, given: jax.Array) -> jax.Array:
        """Copies the argument into the device's memory."""
        return jax.device_put(given, self._own)


class MeshHandOver(DirectHandOver):
    """The way of several devices with memory of their own, which all have what is sent whole, and get all of what comes back.

    Args:
        device: The mesh.
    """

    def __init__(self, device: JaxDevice) -> None:
        super().__init__(device)
        self._first = PinnedHandOver(first_of(device))

    def sender(self, shapes: Sequence[jax.ShapeDtypeStruct]) -> Send:
        """Returns what has the first device send arrays; see :meth:`HandOver.sender`."""
        send = self._first.sender(shapes)
        return lambda values: send([v.addressable_data(0) for v in values])


class _Copied:
    """An array that is copied when it is given."""

    def __init__(self, host: np.ndarray, sharding: Sharding) -> None:
        self.host = host
        self._sharding = sharding

    def given(self) -> jax.Array:
        """Returns a copy, since a device of the host may take arrays without one."""
        return jax.device_put(self.host.copy(), self._sharding)


class _InPlace:
    """An array in pinned memory."""

    def __init__(self, pinned_array: PinnedArray) -> None:
        self._pinned = pinned_array
        self.host = pinned_array.host

    def given(self) -> jax.Array:
        """Returns the array itself."""
        return self._pinned.array
