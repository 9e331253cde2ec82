"""The nodes of a branch and bound that wait: each with its bound, where its program goes on from, and its box."""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np

from partitioner.placement.bounded_simplex import Basis, Floats
from partitioner.placement.learned_split import Step


class OpenNode(NamedTuple):
    """Holds a node; of equal bounds the one made first comes first.

    Attributes:
        bound: Lower bound on what is in the box.
        number: How many were made before it.
        basis: Where its program goes on from.
        lower: Lower bounds of the box.
        upper: Upper bounds.
        step: How it differs from the node that it is a half of, if that is to be learned from.
    """

    bound: float
    number: int
    basis: Basis
    lower: Floats
    upper: Floats
    step: Step | None


class OpenNodes:
    """Keeps the nodes that wait, and the least bound of those that were closed without being split.

    Args:
        bound: Of the root.
        basis: Likewise.
        lower: Likewise.
        upper: Likewise.
    """

    def __init__(self, bound: float, basis: Basis, lower: Floats, upper: Floats) -> None:
        self._waiting = [OpenNode(bound, 0, basis, lower, upper, None)]
        self._num_made = 1
        self._closed = np.inf

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def bound(self) -> float:
        """Returns a lower bound on all that waits and was closed; infinite where nothing is left of the root."""
        return min([self._closed, *(node.bound for node in self._waiting)])

    def take(self, *, newest: bool) -> OpenNode:
        """Takes out the newest node, or the one of least bound."""
        if newest:
            return self._waiting.pop()
        heapq.heapify(self._waiting)
        return heapq.heappop(self._waiting)

    def close(self, bound: float) -> None:
        """Notes the bound of a node that is not split."""
        self._closed = min(self._closed, bound)

    def split(
        self,
        bound: float,
        basis: Basis,
        halves: tuple[tuple[Floats, Floats], ...],
        steps: tuple[Step | None, ...] = (None, None),
    ) -> None:
        """Lets the parts of a node wait, the newest last."""
        for (lower, upper), step in zip(halves, steps, strict=False):
            self._waiting.append(OpenNode(bound, self._num_made, basis, lower, upper, step))
            self._num_made += 1
