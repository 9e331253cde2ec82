"""A mapping that cannot change and can be hashed, for fields of frozen dataclasses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

V = TypeVar("V")


class FrozenMapping(Mapping[str, V], Generic[V]):
    """An immutable mapping from names to hashable values, in the order it was given.

    Equality follows `Mapping` (order does not count); the hash agrees with it.

    Example:
        >>> FrozenMapping({"float32": 1e9})["float32"]
        1000000000.0
    """

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, V]) -> None:
        object.__setattr__(self, "_items", dict(items))

    def __getitem__(self, key: str) -> V:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(frozenset(self._items.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self._items == dict(other)

    def __reduce__(self) -> tuple[type[FrozenMapping[V]], tuple[dict[str, V]]]:
        return FrozenMapping, (self._items,)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a FrozenMapping cannot be changed")

    def __repr__(self) -> str:
        return f"FrozenMapping({self._items!r})"
