"""What the solver decided, by op name: all that a plan file has to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """Says where an op runs and where its weights or cache live.

    Attributes:
        tiers: (phase, tier) for every phase the op occurs in.
        home: Tier of its large weights, or of its KV cache for an attention; "-" if it has neither.
    """

    tiers: tuple[tuple[str, str], ...]
    home: str

    def tier(self, phase: str) -> str:
        """Returns the tier in a phase."""
        return dict(self.tiers)[phase]


@dataclass(frozen=True)
class Certificate:
    """Holds what the solver proved.

    Attributes:
        objective_s: Value of the solver's objective for this plan: seconds of the whole generation, links under compute.
        bound_s: Certified lower bound on it over all placements the policy allows.
        solver: How it was solved.
    """

    objective_s: float
    bound_s: float
    solver: str


@dataclass(frozen=True)
class Decisions:
    """Holds every decision of a plan with its certificate.

    Attributes:
        ops: By op name.
        reserved_bytes: Bytes per tier kept free for activations and stream buffers.
        certificate: What the solver proved.
    """

    ops: Mapping[str, Decision]
    reserved_bytes: Mapping[str, float]
    certificate: Certificate
