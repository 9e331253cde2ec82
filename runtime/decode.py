"""What a decode is given and what it tells while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import numpy as np

Feed = Callable[[int, int, jax.Array], jax.Array]
"""Called with step, micro-batch and the tokens made before; returns those that the step takes in."""

Made = Callable[[int, int, jax.Array, float], None]
"""Called with step, micro-batch, the tokens made, and when they are there."""


@dataclass(frozen=True, eq=False)
class DecodeStart:
    """Says where a decode begins; sequences hold one entry for each micro-batch.

    Attributes:
        tokens: int32[rows] each, the newest tokens, on the processor that makes the logits.
        lengths: int32[rows] each, tokens that are cached.
        cursors: The model's own counters.
        num_steps: Steps to run.
        begin_s: When it may start.
    """

    tokens: Sequence[jax.Array]
    lengths: Sequence[np.ndarray]
    cursors: Sequence[Mapping[str, Any]]
    num_steps: int
    begin_s: float


class Decode(Protocol):
    """Runs decode steps, one token per row each."""

    def run(self, start: DecodeStart, feed: Feed, made: Made) -> float:
        """Runs all steps of all micro-batches and returns when the last one ends.

        Raises:
            SessionError: A step failed.
        """
        ...
