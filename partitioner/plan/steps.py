"""What a plan does, in order: runs of segments, and moves between devices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from partitioner.jaxpr import Eqn, Var
from partitioner.shares import Share

__all__ = ["STREAM_PARTS", "Move", "MoveKind", "PathKind", "Run", "Segment", "Share", "Step"]

PathKind = Literal["p2p", "via_host", "local"]
MoveKind = Literal["hand_over", "stream_weights", "stream_cache", "append_cache", "store_cache", "page_out"]

STREAM_PARTS = 32
"""Parts in which weights are streamed: what has to cross in the meantime goes between two of them and not behind them all."""


@dataclass(frozen=True, eq=False)
class Segment:
    """Groups consecutive ops of one phase on one device, run as one executable (or as attention commands).

    Attributes:
        index: Position among the phase's segments.
        name: First and last op.
        phase: ``prefill`` or ``decode``.
        device: A GPU, ``host``, ``csd`` for an attention on the drives, or ``split`` for one that several tiers share; its
            shares say which devices.
        ops: Names, in order.
        equations: All equations, in order.
        inputs: What it reads: values, params, states and index inputs.
        outputs: What is read later: values, states that live on this device, logits, and new k and v whose cache lives
            elsewhere.
        donated: Those of ``inputs`` whose buffers may be reused: states replaced by an output.
        executable: Segments with equal numbers compute the same function and share one executable.
        attention: Name of the attention op if its shares run as commands, each on its device, else None.
    """

    index: int
    name: str
    phase: str
    device: str
    ops: tuple[str, ...]
    equations: tuple[Eqn, ...]
    inputs: tuple[Var, ...]
    outputs: tuple[Var, ...]
    donated: tuple[Var, ...]
    executable: int
    attention: str | None = None


@dataclass(frozen=True, eq=False)
class Run:
    """Runs a segment, or one device's share of an attention.

    Attributes:
        id: Position in the phase's step list.
        segment: Index of the segment.
        device: Where it runs: ``gpu0``, ``host``, ``csd3``.
        share: The device's part of the attention, None where the whole segment runs.
        after: Ids of the steps that must have ended.
    """

    id: int
    segment: int
    device: str
    share: Share | None
    after: tuple[int, ...]

    @property
    def num_parts(self) -> int:
        """Returns 1: a run is not interrupted."""
        return 1


@dataclass(frozen=True, eq=False)
class Move:
    """Moves values between devices.

    Kinds: ``hand_over`` packs ``values`` into one transfer (for a drive, its share of q, k, v, or of the output);
    ``stream_weights`` copies parameters ``names`` from their home for one use; ``stream_cache`` copies the K and V caches
    ``names`` of one attention from their home for one use; ``append_cache`` sends the new k and v (``values``) to a cache that
    lives elsewhere; ``page_out`` takes tokens that leave a window of the newest ones to the drive that has the older ones;
    ``store_cache`` takes the K and V a prefill made (``values``) to their home (``local`` if that is the same
    device).

    Attributes:
        id: Position in the phase's step list.
        kind: See above.
        values: Variables moved, of the phase.
        names: Parameters or states concerned.
        src: Device of origin.
        dst: Device of arrival.
        path: ``p2p``, ``via_host``, or ``local``.
        num_bytes: Bytes that cross at the longest context (for a prefill in slices, on average over them; for pages that leave
            a window, over steps); see :meth:`Plan.move_bytes` for a given one.
        attention: Name of the attention op for cache moves and for hand-overs to and from drives.
        share: The drive's part, None if none is concerned.
        after: Ids of the steps that must have ended.
    """

    id: int
    kind: MoveKind
    values: tuple[Var, ...]
    names: tuple[str, ...]
    src: str
    dst: str
    path: PathKind
    num_bytes: int
    attention: str | None
    share: Share | None
    after: tuple[int, ...]

    @property
    def num_parts(self) -> int:
        """Returns in how many equal parts, one after the other, it crosses."""
        return STREAM_PARTS if self.kind == "stream_weights" else 1


Step = Run | Move
