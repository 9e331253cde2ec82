"""Numbers the values of a program, so that passes over all of its equations keep lists instead of tables of variables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from partitioner.jaxpr import Eqn, Var


@dataclass(frozen=True, eq=False)
class ValueNumbers:
    """Holds a number for each value: those of inputs come first, then those of what equations make, in their order.

    Attributes:
        of: The number of a variable.
        reads: For each equation the numbers of what it reads.
        first: For each equation the number of the first value that it makes, and behind these how many values there are.
    """

    of: Mapping[Var, int]
    reads: Sequence[Sequence[int]]
    first: Sequence[int]

    @classmethod
    def numbered(
        cls, inputs: Iterable[Var], equations: Sequence[Eqn], reads: Mapping[int, Sequence[Var]]
    ) -> ValueNumbers:
        """Numbers the values of some equations.

        Args:
            inputs: What they read from outside.
            equations: In execution order.
            reads: The variables that each of them reads, by its identity.
        """
        of = {v: n for n, v in enumerate(inputs)}
        rows: list[list[int]] = []
        first: list[int] = []
        for eqn in equations:
            rows.append([of[v] for v in reads[id(eqn)]])
            first.append(len(of))
            for v in eqn.outvars:
                of[v] = len(of)
        return cls(of, rows, [*first, len(of)])

    @property
    def count(self) -> int:
        """Returns how many values there are."""
        return self.first[-1]

    def made(self, position: int) -> range:
        """Returns the numbers of what an equation makes."""
        return range(self.first[position], self.first[position + 1])
