"""What the solver decided, by op name: all that a plan file has to hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from partitioner.objective import TOKENS_PER_SECOND
from partitioner.split_grid import Split

SPLIT = "split"
"""The tier and the home of an attention that several tiers share."""


CacheForm = Literal["kv", "input"]
"""What a cache keeps of a token: its K and V, or the input of the layer, from which they are made again."""


@dataclass(frozen=True)
class Decision:
    """Says where an op runs and where its weights or cache live.

    Attributes:
        tiers: (phase, tier) for every phase the op occurs in; the tier of an attention that several tiers share is ``split``.
        home: Tier of its large weights, or of its KV cache for an attention; "-" if it has neither, ``split`` if its cache
            lives in shares where they are used.
        split: For a shared attention (tier, units) of those that share it, in units of its grid.
        form: What its cache keeps.
        newest: Of what drives hold of a shared attention, the newest tokens for which host memory has a window; 0 for none.
    """

    tiers: tuple[tuple[str, str], ...]
    home: str
    split: Split = ()
    form: CacheForm = "kv"
    newest: int = 0

    def __str__(self) -> str:
        """Returns tiers, home, shares and form in one line."""
        where = ", ".join(f"{phase} on {tier}" for phase, tier in self.tiers)
        home = "" if self.home == "-" else f"; home {self.home}"
        shares = "".join(f" {tier}={units}" for tier, units in self.split)
        newest = f", newest {self.newest} tokens on host" if self.newest else ""
        return f"{where}{home}{shares}{newest}" + ("" if self.form == "kv" else f"; keeps {self.form}")

    def tier(self, phase: str) -> str:
        """Returns the tier in a phase."""
        return dict(self.tiers)[phase]

    def anchor(self, phase: str) -> str:
        """Returns the tier that hands out the operands and takes in the result: the GPU for a shared attention."""
        tier = self.tier(phase)
        return "gpu" if tier == SPLIT else tier


@dataclass(frozen=True)
class Certificate:
    """Holds what the solver proved.

    Attributes:
        objective: The least value of the objective that the solver found, by its account of the time, in the unit of what is
            minimised.
        bound: Certified lower bound on the objective over all placements the policy allows.
        account: The same account of the plan's own placement: more than ``objective`` where another placement than the solver's
            best was taken, because its schedule is better.
        solver: How it was solved.
        minimised: Name of the objective (see ``partitioner.objective``).
    """

    objective: float
    bound: float
    account: float
    solver: str
    minimised: str = TOKENS_PER_SECOND


@dataclass(frozen=True)
class Decisions:
    """Holds every decision of a plan with its certificate.

    Attributes:
        ops: By op name.
        reserved_bytes: Bytes per tier kept free for activations and stream buffers.
        certificate: What the solver proved.
        micro_batches: Parts of the batch that decode side by side; 1 is one step of the whole batch after the other.
    """

    ops: Mapping[str, Decision]
    reserved_bytes: Mapping[str, float]
    certificate: Certificate
    micro_batches: int = 1

    def __str__(self) -> str:
        """Returns a line for each op, under one for the whole."""
        proof = self.certificate
        width = max(map(len, self.ops), default=0)
        head = f"objective {proof.objective:.6g}, bound {proof.bound:.6g}, micro-batches {self.micro_batches}"
        return "\n".join([head, *(f"{name:<{width}}  {decision}" for name, decision in self.ops.items())])
