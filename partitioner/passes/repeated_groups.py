"""Groups of equations that repeat an earlier one, some layers before: what is known of that holds for them, moved on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from partitioner.jaxpr import Eqn, Var
from partitioner.passes.split_equations import SplitEquations

T = TypeVar("T")
_Slot = tuple[int, int]
"""An equation, and which of the variables that it reads or makes."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Holds what a group of equations becomes.

    Attributes:
        equations: Those of the group, and the index arithmetic and parameter views that it needs, in execution order.
        inputs: What they read from outside, in order of first use.
        outputs: What others need of the group.
    """

    equations: tuple[Eqn, ...]
    inputs: tuple[Var, ...]
    outputs: tuple[Var, ...]


@dataclass(frozen=True, eq=False)
class _Known(Generic[T]):
    """Holds what later layers repeat.

    Attributes:
        turn: How many periods it is behind the first.
        group: Positions of the equations of the group.
        positions: Positions of all equations.
        inputs: Where each input is read first.
        outputs: Where each output is made.
        form: What else has to be equal.
        about: What is known of it.
    """

    turn: int
    group: tuple[int, ...]
    positions: tuple[int, ...]
    inputs: tuple[_Slot, ...]
    outputs: tuple[_Slot, ...]
    form: Hashable
    about: T


class RepeatedGroups(Generic[T]):
    """Remembers groups, and finds those that a later one repeats.

    Args:
        split: The equations of the phase, sorted, and what repeats of them.
        form_of: Returns what has to be equal of the inputs and outputs of groups beside their equations.
    """

    def __init__(self, split: SplitEquations, form_of: Callable[[Sequence[Var]], Hashable]) -> None:
        self._equations, self._order = split.phase.equations, split.phase.flow.order
        self._inputs, self._repeats = split.phase.input_of, split.repeats
        self._reads, self._form_of = split.reads, form_of
        self._known: dict[int, _Known[T]] = {}

    def find(self, group: Sequence[int], outputs: Sequence[Var]) -> tuple[Parts, T] | None:
        """Returns the parts of a group that repeats a known one, and what is known; None where there is none.

        Args:
            group: Positions of its equations.
            outputs: What others need of it.
        """
        place = self._repeats.turn(group[0])
        known = self._known.get(place[0]) if place else None
        if place is None or known is None or place[1] <= known.turn:
            return None
        shift, first = (place[1] - known.turn) * self._repeats.period, self._repeats.first
        if known.positions[-1] + shift >= self._repeats.end:
            return None
        if group != [n + shift for n in known.group]:
            return None
        equations = tuple([self._equations[n + shift if n >= first else n] for n in known.positions])
        inputs = tuple([self._reads[id(equations[n])][m] for n, m in known.inputs])
        made = [equations[n].outvars[m] for n, m in known.outputs]
        if made != list(outputs) or self._form(inputs, outputs) != known.form:
            return None
        return Parts(equations, inputs, tuple(outputs)), known.about

    def remember(self, group: Sequence[int], parts: Parts, about: T) -> None:
        """Notes what later layers may repeat of a group."""
        positions = tuple([self._order[id(e)] for e in parts.equations])
        place = self._repeats.turn(group[0])
        first, period = self._repeats.first, self._repeats.period
        if place is None or any(first - period <= n < first for n in positions):
            return
        read: dict[Var, _Slot] = {}
        for n, e in enumerate(parts.equations):
            for m, v in enumerate(self._reads[id(e)]):
                read.setdefault(v, (n, m))
        made = {v: (n, m) for n, e in enumerate(parts.equations) for m, v in enumerate(e.outvars)}
        self._known[place[0]] = _Known(
            place[1],
            tuple(group),
            positions,
            tuple([read[v] for v in parts.inputs]),
            tuple([made[v] for v in parts.outputs]),
            self._form(parts.inputs, parts.outputs),
            about,
        )

    def _form(self, inputs: Sequence[Var], outputs: Sequence[Var]) -> Hashable:
        return self._form_of([*(v for v in inputs if v not in self._inputs), *outputs])
