"""Ways to run an op in numbers: one by one, as arrays, and in lists of which arrays are known before any single one is made."""

from __future__ import annotations

import bisect
import itertools
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

Way = tuple[int | None, ...]
"""For each phase the tier an op runs on, or None where the op does not occur in that phase."""


@dataclass(frozen=True)
class Variant:
    """Stores one way to run an op in all phases: where it runs, where its operands live, what that costs.

    Attributes:
        tiers: For each phase the tier the op runs on, or None where the op does not occur in that phase.
        seconds: For each phase the time on the critical path, over the whole generation.
        memory: For each tier the bytes that stay resident (weights and KV cache), and what it adds to each further sum that
            the problem limits; missing numbers at the end are zero.
        busy: Load on overlappable resources as (resource index, seconds over the whole generation).
        key: What the caller needs to recognise the choice (for example ``("gpu", "csd", "csd")``).
        working: For each tier the seconds in which its devices work, over the whole generation, added up over drives; nothing
            where it is of no interest. No part of the objective of a problem: see ``objective``.
    """

    tiers: Way
    seconds: tuple[float, ...]
    memory: tuple[float, ...]
    busy: tuple[tuple[int, float], ...] = ()
    key: tuple[str, ...] = ()
    working: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        numbers = (*self.seconds, *self.memory, *[s for _, s in self.busy], *self.working)
        if not (math.isfinite(sum(numbers)) and min(numbers, default=0.0) >= 0):
            raise ValueError(f"a variant's seconds and bytes must be finite and not negative, got {self}")
        if len(self.tiers) != len(self.seconds):
            raise ValueError(f"a variant needs one tier and one time per phase, got {self}")


@dataclass(frozen=True, eq=False)
class VariantNumbers:
    """Holds the numbers of V variants as arrays.

    Attributes:
        seconds: [V phases] see :class:`Variant`.
        memory: [V M] likewise, zeros where numbers are missing.
        row: [L] the variant of each load.
        resource: [L] the resource that it loads.
        load_s: [L] its seconds.
    """

    seconds: NDArray[np.float64]
    memory: NDArray[np.float64]
    row: NDArray[np.int64]
    resource: NDArray[np.int64]
    load_s: NDArray[np.float64]

    @classmethod
    def of(cls, variants: Sequence[Variant]) -> VariantNumbers:
        """Returns the numbers of some variants."""
        if isinstance(variants, VariantList):
            return variants.numbers
        most = max((len(v.memory) for v in variants), default=0)
        memory = [v.memory + (0.0,) * (most - len(v.memory)) for v in variants]
        loads = [load for v in variants for load in v.busy]
        return cls(
            np.array([v.seconds for v in variants], np.float64).reshape(len(variants), -1),
            np.array(memory, np.float64).reshape(len(variants), most),
            np.repeat(np.arange(len(variants)), [len(v.busy) for v in variants]),
            np.array([resource for resource, _ in loads], np.int64),
            np.array([seconds for _, seconds in loads], np.float64),
        )

    @classmethod
    def joined(cls, parts: Sequence[VariantNumbers]) -> VariantNumbers:
        """Returns the numbers of all variants of some parts, which have numbers of the same tiers and phases."""
        first = np.cumsum([0, *[len(part.seconds) for part in parts]])
        return cls(
            np.concatenate([part.seconds for part in parts]),
            np.concatenate([part.memory for part in parts]),
            np.concatenate([part.row + n for part, n in zip(parts, first[:-1], strict=True)]),
            np.concatenate([part.resource for part in parts]),
            np.concatenate([part.load_s for part in parts]),
        )


class VariantList(Sequence[Variant]):
    """Lists variants whose numbers are known as arrays; each is made when it is asked for. Equal by what it holds."""

    @property
    @abstractmethod
    def numbers(self) -> VariantNumbers:
        """Returns the numbers of all variants."""

    @property
    @abstractmethod
    def ran(self) -> Sequence[Way]:
        """Returns the tiers of each variant."""

    @property
    @abstractmethod
    def samples(self) -> Sequence[Variant]:
        """Returns at least one variant of each set that has tiers, the number of numbers, and loaded resources in common."""

    @abstractmethod
    def at(self, index: int) -> Variant:
        """Returns the variant of an index from 0 on."""

    @overload
    def __getitem__(self, index: int) -> Variant: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Variant, ...]: ...
    def __getitem__(self, index: int | slice) -> Variant | tuple[Variant, ...]:
        """Returns a variant, or several."""
        indices = range(len(self))[index]
        return self.at(indices) if isinstance(indices, int) else tuple(map(self.at, indices))

    __hash__ = None  # type: ignore[assignment]


def samples_of(variants: Sequence[Variant]) -> Sequence[Variant]:
    """Returns variants that have all there is of tiers, numbers of numbers, and loaded resources (see ``VariantList``)."""
    if isinstance(variants, VariantList):
        return variants.samples
    alike = {(v.tiers, len(v.seconds), len(v.memory), tuple([r for r, _ in v.busy])): v for v in variants}
    return tuple(alike.values())


def ran_of(variants: Sequence[Variant]) -> Sequence[Way]:
    """Returns the tiers of each variant."""
    return variants.ran if isinstance(variants, VariantList) else [variant.tiers for variant in variants]


class JoinedVariants(VariantList):
    """Lists the variants of several parts, one part behind the other.

    Args:
        parts: Not empty.
    """

    def __init__(self, parts: Sequence[Sequence[Variant]]) -> None:
        self._parts = tuple(parts)
        self._ends = list(itertools.accumulate(map(len, parts)))

    def __len__(self) -> int:
        return self._ends[-1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JoinedVariants) and self._parts == other._parts

    __hash__ = None  # type: ignore[assignment]

    def at(self, index: int) -> Variant:
        """Returns the variant of an index from 0 on."""
        part = bisect.bisect_right(self._ends, index)
        return self._parts[part][index - (self._ends[part - 1] if part else 0)]

    @property
    def numbers(self) -> VariantNumbers:
        """Returns the numbers of all variants."""
        return VariantNumbers.joined([VariantNumbers.of(part) for part in self._parts])

    @property
    def ran(self) -> Sequence[Way]:
        """Returns the tiers of each variant."""
        return [way for part in self._parts for way in ran_of(part)]

    @property
    def samples(self) -> Sequence[Variant]:
        """Returns variants that stand for all (see ``VariantList``)."""
        return [variant for part in self._parts for variant in samples_of(part)]


def joined(parts: Sequence[Sequence[Variant]]) -> Sequence[Variant]:
    """Returns all variants of some parts; as a tuple where all parts are tuples."""
    kept = [part for part in parts if len(part)]
    if any(isinstance(part, VariantList) for part in kept):
        return kept[0] if len(kept) == 1 else JoinedVariants(kept)
    return tuple(itertools.chain.from_iterable(kept))
