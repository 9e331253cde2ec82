"""Who makes and who reads each value of a list of equations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from partitioner.jaxpr import Eqn, Var


class Dataflow:
    """Indexes who makes and who reads each variable.

    Args:
        equations: In execution order.
        reads: The variables that each of them reads, by its identity; there may be more.
        order: Numbers that grow along the equations, by identity, if they are known; there may be more.

    Attributes:
        reads: See above.
        maker: The equation that makes a variable.
    """

    def __init__(
        self,
        equations: Sequence[Eqn],
        reads: Mapping[int, Sequence[Var]],
        order: Mapping[int, int] | None = None,
    ) -> None:
        self._equations, self.reads, self._order = equations, reads, order
        self.maker: dict[Var, Eqn] = {v: e for e in equations for v in e.outvars}

    @cached_property
    def order(self) -> Mapping[int, int]:
        """Returns a number for each equation, by its identity, that grows along them: its position if no others were given."""
        if self._order is not None:
            return self._order
        return {id(e): i for i, e in enumerate(self._equations)}

    @cached_property
    def readers(self) -> Mapping[Var, Sequence[Eqn]]:
        """Returns the equations that read a variable, in execution order."""
        found: dict[Var, list[Eqn]] = {}
        for e in self._equations:
            read = self.reads[id(e)]
            for v in read if len(read) < 2 else dict.fromkeys(read):
                known = found.get(v)
                if known is None:
                    found[v] = [e]
                else:
                    known.append(e)
        return found

    def needed_for(self, wanted: Iterable[Var]) -> tuple[Eqn, ...]:
        """Returns those of the equations that variables depend on, in execution order."""
        found: dict[int, Eqn] = {}
        pending = list(wanted)
        while pending:
            eqn = self.maker.get(pending.pop())
            if eqn is not None and id(eqn) not in found:
                found[id(eqn)] = eqn
                pending += self.reads[id(eqn)]
        return self.sorted(found.values())

    def sorted(self, equations: Iterable[Eqn]) -> tuple[Eqn, ...]:
        """Returns equations in execution order, each once."""
        order = self.order
        placed = {order[id(e)]: e for e in equations}
        return tuple([placed[place] for place in sorted(placed)])
