"""The values of one run of a phase: one slice of a prefill, or one step of a decode."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from partitioner.errors import PlanError
from partitioner.jaxpr import Var
from partitioner.shares import Share
from runtime.program import Key, Program
from runtime.share_rows import ShareRows


class Frame:
    """Keeps what steps hand to one another, and lets go of each value after its last reader.

    Attributes:
        program: The phase.
        micro_batch: Whose rows these are.
        slots: int32[rows], row of the micro-batch that each row is here; ``NO_SLOT`` where it belongs to no request.
        before: int32[rows], tokens of each row that are cached already.
        after: int32[rows], tokens of each row once this run is done.
        index: Per processor, the index inputs that its segments read.
        told: All index inputs.
    """

    def __init__(
        self,
        program: Program,
        micro_batch: int,
        slots: np.ndarray,
        before: np.ndarray,
        after: np.ndarray,
        index: Mapping[str, Mapping[Var, Any]],
        told: Mapping[Var, Any],
    ) -> None:
        self.program = program
        self.micro_batch = micro_batch
        self.slots = slots
        self.before = before
        self.after = after
        self.index = index
        self.told = told
        self._left = dict(program.readers)
        self._values: dict[tuple[str, Key], Any] = {}
        self._parts: dict[tuple[str, Key], list[tuple[Share, Any]]] = {}
        self._share_rows: dict[tuple[int, int] | None, ShareRows] = {}
        self._shared: dict[Hashable, Any] = {}
        self._lock = threading.Lock()
        self._sharing = threading.Lock()

    @property
    def num_rows(self) -> int:
        """Returns how many rows this run has."""
        return len(self.before)

    def rows_of(self, share: Share | None) -> ShareRows:
        """Returns the rows that a share has of this run; None stands for all that have a request."""
        with self._lock:
            key = None if share is None else share.rows
            if key not in self._share_rows:
                self._share_rows[key] = ShareRows.of(share, self.slots)
            return self._share_rows[key]

    def put(self, device: str, key: Key, value: Any) -> None:
        """Makes a value available on a device, unless nothing there reads it."""
        with self._lock:
            if self._left.get((device, key), 0) > 0:
                self._values[device, key] = value

    def put_part(self, device: str, key: Key, share: Share, part: Any) -> list[tuple[Share, Any]] | None:
        """Adds a part of a value; returns all parts with the last one, else None."""
        with self._lock:
            parts = self._parts.setdefault((device, key), [])
            parts.append((share, part))
            complete = len(parts) == self.program.parts[device, key]
            return self._parts.pop((device, key)) if complete else None

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Returns what ``make`` gave to the first step of this run that asked with the same key."""
        with self._sharing:
            if key not in self._shared:
                self._shared[key] = make()
            return self._shared[key]

    def read(self, device: str, key: Key) -> Any:
        """Returns a value for one reader, and drops it after the last.

        Raises:
            PlanError: Nothing has brought it there: the plan lacks a move.
        """
        with self._lock:
            if (device, key) not in self._values:
                raise PlanError(
                    f"the {self.program.name} plan reads {key} on {device}, where nothing has brought it; partition again"
                )
            value = self._values[device, key]
            self._left[device, key] -= 1
            if self._left[device, key] == 0:
                del self._values[device, key]
            return value
