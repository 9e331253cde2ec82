"""Who makes and who reads each value of a list of equations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from partitioner.jaxpr import Eqn, Var, variables


class Dataflow:
    """Indexes who makes and who reads each variable.

    Attributes:
        order: Position of each equation, by its identity.
        maker: The equation that makes a variable.
        readers: The equations that read a variable, in execution order.
    """

    def __init__(self, equations: Sequence[Eqn]) -> None:
        self.order = {id(e): i for i, e in enumerate(equations)}
        self.maker: dict[Var, Eqn] = {}
        self.readers: dict[Var, list[Eqn]] = {}
        for e in equations:
            for v in e.outvars:
                self.maker[v] = e
            read = variables(e.invars)
            for v in read if len(read) < 2 else dict.fromkeys(read):
                self.readers.setdefault(v, []).append(e)

    def needed_for(self, wanted: Iterable[Var]) -> tuple[Eqn, ...]:
        """Returns those of the equations that variables depend on, in execution order."""
        found: dict[int, Eqn] = {}
        pending = list(wanted)
        while pending:
            eqn = self.maker.get(pending.pop())
            if eqn is not None and id(eqn) not in found:
                found[id(eqn)] = eqn
                pending += variables(eqn.invars)
        return self.sorted(found.values())

    def sorted(self, equations: Iterable[Eqn]) -> tuple[Eqn, ...]:
        """Returns equations in execution order, each once."""
        unique = {id(e): e for e in equations}
        return tuple(sorted(unique.values(), key=lambda e: self.order[id(e)]))
