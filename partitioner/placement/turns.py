"""The order in which items take their turns so that none of several sums runs far ahead of its share or far behind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Item = TypeVar("Item", bound=Hashable)


def in_turns(items: Counter[Item], ahead: Mapping[Item, NDArray[np.float64]]) -> list[Item]:
    """Returns all items, each as often as counted, every next one that after which the sums are closest to zero.

    Args:
        items: How often each item occurs; of items that are equally close, the first here is taken.
        ahead: For each item [S] what it adds to each of the sums, in one unit. All together add up to zero.
    """
    left = Counter(items)
    behind = np.zeros(len(next(iter(ahead.values()))))
    ordered: list[Item] = []
    for _ in range(left.total()):
        nearest = min(
            (item for item in left if left[item]), key=lambda one: float(np.abs(behind + ahead[one]).sum())
        )
        left[nearest] -= 1
        behind = behind + ahead[nearest]
        ordered.append(nearest)
    return ordered
