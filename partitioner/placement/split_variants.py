"""The ways to share an attention as rows of numbers; hundreds of them, of which a placement takes a few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partitioner.placement.variant_list import Variant, VariantList, VariantNumbers, Way
from partitioner.tier_links import TIERS

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class StoreTable:
    """Holds what bringing a part of a prefill's K and V to a tier takes, by the units that are brought there.

    Attributes:
        indices: The resources that it loads.
        load_s: ``[units + 1, indices]``: their seconds, none where there are no units.
        written_s: ``[units + 1]``: the seconds in which drives write.
    """

    indices: tuple[int, ...]
    load_s: Floats
    written_s: Floats


class SplitVariants(VariantList):
    """Lists variants in which several tiers attend at the same time, one for each split.

    Args:
        tiers: Where they run.
        way: What their keys begin with; the units of each tier that has some follow.
        units: ``[splits, tiers]``: the units that each tier has.
        seconds: ``[splits, phases]``: see :class:`Variant`, as are the next two.
        memory: ``[splits, tiers]``.
        working_s: ``[splits, tiers]``, what drives write left aside.
        stores: For each tier what units of a prefill's K and V take to get there; None where nothing is brought.

    Raises:
        ValueError: Seconds or bytes are not finite, or negative.
    """

    def __init__(
        self,
        tiers: Way,
        way: tuple[str, ...],
        units: NDArray[np.int64],
        seconds: Floats,
        memory: Floats,
        working_s: Floats,
        stores: Sequence[StoreTable | None],
    ) -> None:
        self._tiers, self._way, self._units = tiers, way, units
        self._seconds, self._memory, self._working_s = seconds, memory, working_s.copy()
        brought = [(units[:, tier], store) for tier, store in enumerate(stores) if store]
        self._indices = sorted({index for _, store in brought for index in store.indices})
        self._load_s = np.zeros((len(units), len(self._indices)))
        self._loads = np.zeros(self._load_s.shape, np.bool_)
        for part, store in brought:
            columns = [self._indices.index(index) for index in store.indices]
            self._load_s[:, columns] += store.load_s[part]
            self._loads[:, columns] |= (part > 0)[:, None]
            self._working_s[:, -1] += store.written_s[part]
        for numbers in (seconds, memory, self._load_s, self._working_s):
            if not np.isfinite(numbers).all() or numbers.min(initial=0.0) < 0:
                raise ValueError("seconds and bytes of splits must be finite and not negative")
        self._made: dict[int, Variant] = {}

    def __len__(self) -> int:
        return len(self._units)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SplitVariants):
            return NotImplemented
        named = (self._tiers, self._way, self._indices) == (other._tiers, other._way, other._indices)
        return named and all(map(np.array_equal, self._arrays, other._arrays))

    __hash__ = None  # type: ignore[assignment]

    @property
    def _arrays(self) -> tuple[NDArray[np.generic], ...]:
        numbers = (self._seconds, self._memory, self._load_s, self._working_s)
        return (self._units, self._loads, *numbers)

    def at(self, index: int) -> Variant:
        """Returns the variant of a split."""
        if index not in self._made:
            loads = zip(self._indices, self._loads[index], self._load_s[index].tolist(), strict=True)
            units = zip(TIERS, self._units[index].tolist(), strict=True)
            self._made[index] = Variant(
                tiers=self._tiers,
                seconds=tuple(self._seconds[index].tolist()),
                memory=tuple(self._memory[index].tolist()),
                busy=tuple((resource, seconds) for resource, loaded, seconds in loads if loaded),
                key=(*self._way, *[f"{tier}={part}" for tier, part in units if part]),
                working=tuple(self._working_s[index].tolist()),
            )
        return self._made[index]

    @property
    def numbers(self) -> VariantNumbers:
        """Returns the numbers of all variants."""
        row, column = np.nonzero(self._loads)
        resource = np.array(self._indices, np.int64)[column]
        return VariantNumbers(self._seconds, self._memory, row, resource, self._load_s[row, column])

    @property
    def ran(self) -> Sequence[Way]:
        """Returns the tiers of each variant."""
        return [self._tiers] * len(self)

    @property
    def samples(self) -> Sequence[Variant]:
        """Returns one variant for each set of loaded resources."""
        _, first = np.unique(self._loads, axis=0, return_index=True)
        return [self.at(index) for index in first.tolist()]
