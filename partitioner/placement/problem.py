"""The placement problem in numbers: what may run where, what it costs, and what has to fit.

Everything a solver sees is here, and nothing of jaxprs or hardware descriptions: the cost models have been asked already.
Indices are used throughout: *tier* (a device kind: GPU, host, drives), *phase* (prefill, decode), *resource* (a link direction
that may work under compute).

The objective is::

    sum over phases p of max(chain[p], max over resources r of phase p of busy[r])

where ``chain[p]`` is the sum of the chosen variants' seconds and of the moves of values between tiers, and ``busy[r]`` the sum
of the chosen variants' load on ``r``. A value moves from its producer's tier to each *other* tier that consumes it, once a
block and tier. Memory is a sum over variants, and must not exceed the capacity of any tier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from partitioner.placement.variant_list import Variant, VariantNumbers, Way, ran_of


@dataclass(frozen=True)
class Choice:
    """Names an op (or the same op in both phases) and the variants to choose from; exactly one is taken."""

    name: str
    variants: Sequence[Variant]

    @cached_property
    def ran(self) -> Sequence[Way]:
        """Returns the tiers of each variant."""
        return ran_of(self.variants)

    @cached_property
    def ways(self) -> tuple[Way, ...]:
        """Returns the tiers of the variants, each once, in the order in which they first come."""
        return tuple(dict.fromkeys(self.ran))

    @cached_property
    def numbers(self) -> VariantNumbers:
        """Returns the numbers of all variants."""
        return VariantNumbers.of(self.variants)


@dataclass(frozen=True)
class Flow:
    """Describes a value that crosses from its producer to its consumers inside one phase.

    Attributes:
        phase: Index of the phase.
        producer: Index of the producing choice in the block, or None for a value that enters the block.
        source: For a value that enters: its index in the block's ``entries``.
        consumers: Indices of the consuming choices of this block.
        leaves: Index in the block's ``exits`` when the value is live after the block, else None.
        move_s: ``move_s[src][dst]``: seconds on the critical path to move it, over the whole generation; 0 on the diagonal.
        working: For each tier the part of these seconds in which it works when it takes the value in, as for a variant.
    """

    phase: int
    producer: int | None
    source: int | None
    consumers: tuple[int, ...]
    leaves: int | None
    move_s: tuple[tuple[float, ...], ...]
    working: tuple[float, ...] = ()


@dataclass(frozen=True)
class Block:
    """Groups ops between two points where only the ``entries`` and ``exits`` are live.

    ``entries`` and ``exits`` give the phase of each boundary value. A following block's entries are its predecessor's exits,
    in order; the tier where a boundary value was produced is the only thing one block knows of another.
    """

    name: str
    choices: tuple[Choice, ...]
    flows: tuple[Flow, ...]
    entries: tuple[int, ...]
    exits: tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """Repeats a block ``count`` times in a row."""

    block: Block
    count: int


@dataclass(frozen=True)
class Problem:
    """Holds a whole placement problem.

    Attributes:
        tiers: Names, e.g. ``("gpu", "host", "csd")``.
        capacities: Bytes left for weights and KV cache per tier, and behind these the limits of further sums over the variants
            (see ``agreement``).
        phases: Names, e.g. ``("prefill", "decode")``.
        resources: (name, phase index) of each overlappable resource.
        stages: The model from first to last op.
        entry_tier: Tier on which the first block's entries (tokens) arrive.
    """

    tiers: tuple[str, ...]
    capacities: tuple[float, ...]
    phases: tuple[str, ...]
    resources: tuple[tuple[str, int], ...]
    stages: tuple[Stage, ...]
    entry_tier: int = 0


@dataclass(frozen=True)
class Solution:
    """Holds the chosen variants with their certificate.

    Attributes:
        chosen: For each stage, each instance, each choice of the block: the variant's index.
        objective: Value of the objective, evaluated on ``chosen`` by :func:`evaluate`, in seconds.
        bound: Certified lower bound on the objective.
        solver: What was solved, for people (columns, rows, method).
        price: For each component of a cost vector (see ``components``) the price at which the relaxation ended; may be empty.
    """

    chosen: tuple[tuple[tuple[int, ...], ...], ...]
    objective: float
    bound: float
    solver: str
    price: tuple[float, ...] = ()

    @property
    def gap(self) -> float:
        """Returns the relative gap between objective and bound."""
        return 0.0 if self.objective == 0 else max(0.0, (self.objective - self.bound) / self.objective)


@dataclass(frozen=True)
class Undecided:
    """Says that a search for a placement below a known value came to its limit without one.

    Attributes:
        bound: Certified lower bound on the objective.
    """

    bound: float


@dataclass(frozen=True)
class Infeasible:
    """Says that no placement fits, and by how much.

    Attributes:
        shortfall: For each tier the bytes missing in a placement with the least bytes missing in all.
        needed: For each tier the bytes that placement wants there.
    """

    shortfall: tuple[float, ...]
    needed: tuple[float, ...]
