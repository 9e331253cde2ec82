"""What a decode is given and what it tells while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

from runtime.sampling_settings import RowSettings

Feed = Callable[[int, int, jax.Array], jax.Array]
"""Called with step, micro-batch and the tokens made before; returns those that the step takes in."""

Made = Callable[[int, int, jax.Array, float], bool]
"""Called with step, micro-batch, the tokens made, and when they are there; tells whether the micro-batch ends with them."""


@dataclass(frozen=True, eq=False)
class OpenRows:
    """Says which rows of a micro-batch have a request, and how their tokens are drawn.

    Rows without one have no tokens cached and stay so. Drives leave them out; processors, whose shapes are fixed, compute one
    token of theirs.

    Attributes:
        slots: int32[rows], the row itself, or ``NO_SLOT`` where there is no request.
        settings: Of each row.
    """

    slots: np.ndarray
    settings: RowSettings


@dataclass(frozen=True, eq=False)
class DecodeStart:
    """Says where a decode begins; sequences hold one entry for each micro-batch.

    Attributes:
        tokens: int32[rows] each, the newest tokens, on the processor that makes the logits.
        lengths: int32[rows] each, tokens that are cached.
        cursors: The model's own counters.
        num_steps: Steps to run at most.
        begin_s: When it may start.
        open: For rows that come and go, what is known of the rows; None where all rows count and take the likeliest tokens.
    """

    tokens: Sequence[jax.Array]
    lengths: Sequence[np.ndarray]
    cursors: Sequence[Mapping[str, Any]]
    num_steps: int
    begin_s: float
    open: Sequence[OpenRows] | None = None


class Decode(Protocol):
    """Runs decode steps, one token per row each."""

    def run(self, start: DecodeStart, feed: Feed, made: Made) -> float:
        """Runs all steps of all micro-batches and returns when the last one ends.

        Raises:
            SessionError: A step failed.
        """
        ...

    def prepare_sampling(self) -> None:
        """Compiles what rows that come and go need, the first time."""
        ...

    def cursors(self, number: int) -> Mapping[str, Any]:
        """Returns the model's own counters of a micro-batch after the last run."""
        ...
