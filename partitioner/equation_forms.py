"""Numbers what equations compute, so that groups of them are compared as rows of whole numbers.

Layers repeat: of the thousands of equations of a phase a few hundred differ in primitive, parameters or literals. Each of these
is looked at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from partitioner.jaxpr import Atom, Eqn, Literal, Var, aval_of, equation_key, literal_key


class EquationForms:
    """Gives each equation of a phase its form: a number that equations share exactly if they do the same to their operands.

    Args:
        equations: Those of the phase.
        reads: The variables that each of them reads, by its identity.

    Attributes:
        keys: What the forms stand for, in the order of their numbers, which is that of first use.
    """

    def __init__(self, equations: Iterable[Eqn], reads: Mapping[int, Sequence[Var]]) -> None:
        self._number: dict[Hashable, int] = {}
        self._seen: dict[Hashable, int] = {}
        self._of = {id(e): (self._form(e, read := reads[id(e)]), read) for e in equations}
        self._types: dict[Any, tuple[Any, ...]] = {}
        self.keys: tuple[Hashable, ...] = tuple(self._number)

    def signature(
        self, equations: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Atom]
    ) -> tuple[Any, tuple[int, ...], Any]:
        """Returns what two groups of these equations share exactly if they compute the same function of their inputs."""
        row, number = self._wired(equations, inputs)
        results = tuple(_result(a, number) for a in outputs)
        return tuple([self._type(v) for v in inputs]), tuple(row), results

    def printed(self, equations: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Atom]) -> bytes:
        """Returns all that a signature holds, with what its forms stand for, as bytes that other processes repeat."""
        types, row, results = self.signature(equations, inputs, outputs)
        shown = {
            one: repr(one) for one in set(types)
        }  # as in repr((self.keys, types, results)), each type printed once
        listed = ", ".join([shown[one] for one in types]) + ("," if len(types) == 1 else "")
        text = f"({self.keys!r}, ({listed}), {results!r})"
        return text.encode() + np.asarray(row, "<i8").tobytes()

    def _type(self, var: Var) -> tuple[Any, ...]:
        """Returns shape and dtype of a variable; equal ones are one object, which is compared sooner."""
        aval = aval_of(var)
        return self._types.setdefault((aval.shape, aval.dtype), (aval.shape, aval.dtype))

    def _wired(self, equations: Sequence[Eqn], inputs: Sequence[Var]) -> tuple[list[int], dict[Var, int]]:
        """Returns forms and operands of equations as numbers, and those of all values; inputs come first."""
        number = {v: i for i, v in enumerate(inputs)}
        row: list[int] = []
        for eqn in equations:
            form, operands = self._of[id(eqn)]
            row.append(form)
            for v in operands:
                row.append(number[v])
            for v in eqn.outvars:
                number[v] = len(number)
        return row, number

    def _form(self, eqn: Eqn, read: Sequence[Var]) -> int:
        atoms, literals = eqn.invars, ()
        if len(read) < len(atoms):
            literals = tuple((i, literal_key(a)) for i, a in enumerate(atoms) if isinstance(a, Literal))
        # equal parameters have equal keys, and are compared much sooner than their keys are made
        quick = (eqn.primitive, tuple(eqn.params.values()), literals, len(atoms), len(eqn.outvars))
        try:
            known = self._seen.get(quick)
        except TypeError:  # a parameter without a hash
            return self._number.setdefault(equation_key(eqn), len(self._number))
        if known is None:
            known = self._number.setdefault(equation_key(eqn), len(self._number))
            self._seen[quick] = known
        return known


def _result(atom: Atom, number: Mapping[Var, int]) -> Any:
    return literal_key(atom) if isinstance(atom, Literal) else number[atom]
