"""Numbers what equations compute, so that groups of them are compared as rows of whole numbers.

Layers repeat: of the thousands of equations of a phase a few hundred differ in primitive, parameters or literals. Each of these
is looked at once.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from partitioner.jaxpr import Atom, Eqn, Literal, Var, aval_of, equation_key, literal_key
from partitioner.value_numbers import ValueNumbers

Wired: TypeAlias = tuple[list[int], Mapping[Var, int]]
"""Forms and operands of equations as numbers, one equation after the other, and the numbers of all values, inputs first."""


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
        self._copies: dict[Hashable, tuple[Mapping[str, Any], int]] = {}
        self._of = {id(e): (self._form(e, read := reads[id(e)]), read) for e in equations}
        self._types: dict[Any, tuple[Any, ...]] = {}
        self.keys: tuple[Hashable, ...] = tuple(self._number)

    def signature(
        self, equations: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Atom]
    ) -> tuple[Any, tuple[int, ...], Any]:
        """Returns what two groups of these equations share exactly if they compute the same function of their inputs."""
        row, number = self.wired(equations, inputs)
        return tuple(map(self.type_of, inputs)), tuple(row), _results(outputs, number)

    def printed(self, inputs: Sequence[Var], outputs: Sequence[Atom], wired: Wired) -> bytes:
        """Returns all that the signature of all equations holds, with what its forms stand for, as other processes repeat it.

        Args:
            inputs: Of the phase.
            outputs: Likewise.
            wired: All equations as numbers.
        """
        row, number = wired
        types, results = tuple(map(self.type_of, inputs)), _results(outputs, number)
        shown = {
            one: repr(one) for one in set(types)
        }  # as in repr((self.keys, types, results)), each type printed once
        listed = ", ".join([shown[one] for one in types]) + ("," if len(types) == 1 else "")
        text = f"({self.keys!r}, ({listed}), {results!r})"
        return text.encode() + np.asarray(row, "<i8").tobytes()

    def type_of(self, var: Var) -> tuple[Any, ...]:
        """Returns shape and dtype of a variable; equal ones are one object, which is compared sooner."""
        aval = aval_of(var)
        return self._types.setdefault((aval.shape, aval.dtype), (aval.shape, aval.dtype))

    def wired(self, equations: Sequence[Eqn], inputs: Sequence[Var]) -> Wired:
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

    def row(self, equations: Sequence[Eqn], numbers: ValueNumbers) -> list[int]:
        """Returns forms and operands of all equations of which the values are numbered."""
        row: list[int] = []
        for eqn, read in zip(equations, numbers.reads, strict=True):
            row.append(self._of[id(eqn)][0])
            row += read
        return row

    def _form(self, eqn: Eqn, read: Sequence[Var]) -> int:
        atoms, literals = eqn.invars, ()
        if len(read) < len(atoms):
            literals = tuple((i, literal_key(a)) for i, a in enumerate(atoms) if isinstance(a, Literal))
        # copies of an equation, such as a body that many layers call, have one object for their parameters
        copy = (id(eqn.params), eqn.primitive, literals, len(atoms), len(eqn.outvars))
        known = self._copies.get(copy)
        if known is None or known[0] is not eqn.params:
            known = self._copies[copy] = eqn.params, self._form_of_parameters(eqn, literals)
        return known[1]

    def _form_of_parameters(self, eqn: Eqn, literals: Hashable) -> int:
        # equal parameters have equal keys, and are compared much sooner than their keys are made
        quick = (eqn.primitive, tuple(eqn.params.values()), literals, len(eqn.invars), len(eqn.outvars))
        try:
            known = self._seen.get(quick)
        except TypeError:  # a parameter without a hash
            return self._number.setdefault(equation_key(eqn), len(self._number))
        if known is None:
            known = self._number.setdefault(equation_key(eqn), len(self._number))
            self._seen[quick] = known
        return known


def _results(outputs: Sequence[Atom], number: Mapping[Var, int]) -> tuple[Any, ...]:
    return tuple([literal_key(a) if isinstance(a, Literal) else number[a] for a in outputs])
