"""Values of small whole numbers that a trace fixes: counters of loops, indices of layers, tables of settings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from partitioner.jaxpr import Atom, Eqn, Literal, Var, aval_of
from partitioner.numpy_rules import evaluate_in_numpy, has_numpy_rule

_MOST_ENTRIES = 4096
"""Larger arrays are no settings of layers, and are not worked out."""


class KnownValues:
    """Works out, where asked, what depends on no input.

    Args:
        consts: Arrays that a trace closes over, by variable.
    """

    def __init__(self, consts: Iterable[tuple[Var, Any]] = ()) -> None:
        self._maker: dict[Var, Eqn] = {}
        self._values: dict[Var, np.ndarray | None] = {}
        for var, value in consts:
            self.define(var, value)

    def define(self, var: Var, value: Any) -> None:
        """Takes an array that a variable stands for."""
        if _is_small(var):
            self._values[var] = np.asarray(value)

    def add(self, eqn: Eqn) -> None:
        """Takes an equation from whose operands results may follow."""
        if all(_is_small(v) for v in eqn.outvars):
            self._maker.update((v, eqn) for v in eqn.outvars)

    def of(self, atom: Atom) -> np.ndarray | None:
        """Returns the value of small whole numbers or truth values; None where it depends on an input."""
        if isinstance(atom, Literal):
            return np.asarray(atom.val) if _is_small(atom) else None
        if atom not in self._values:
            self._values[atom] = self._evaluated(atom)
        return self._values[atom]

    def _evaluated(self, var: Var) -> np.ndarray | None:
        eqn = self._maker.get(var)
        if eqn is None or not has_numpy_rule(eqn):
            return None
        values = [self.of(a) for a in eqn.invars]
        if any(v is None for v in values):
            return None
        given = {a: v for a, v in zip(eqn.invars, values, strict=True) if not isinstance(a, Literal)}
        return evaluate_in_numpy([eqn], dict(given))[var]


def _is_small(atom: Atom) -> bool:
    aval: Any = aval_of(atom)
    kind = getattr(getattr(aval, "dtype", None), "kind", "")
    return kind in ("i", "u", "b") and int(np.prod(aval.shape)) <= _MOST_ENTRIES
