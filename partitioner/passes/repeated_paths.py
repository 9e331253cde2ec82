"""Paths from the inputs of layers to K and V that repeat those of earlier layers (see ``equation_repeats``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from partitioner.jaxpr import Eqn, Var
from partitioner.passes.find_kv_source import KvPath
from partitioner.passes.split_equations import SplitEquations

T = TypeVar("T")
_Slot = tuple[int, int]
"""An equation, and which of the variables that it reads or makes."""


@dataclass(frozen=True, eq=False)
class _Known(Generic[T]):
    """Holds what later layers repeat.

    Attributes:
        turn: How many periods it is behind the first.
        equations: Positions of the equations of the path.
        source: Where the source is read first, by the number of the equation in the path.
        inputs: Where each input is read first, likewise.
        targets: Where the targets are made, by the position of the equation.
        values: Where the values are made that one looked at on the way, likewise.
        types: Types of these.
        about: What is known of the path.
    """

    turn: int
    equations: tuple[int, ...]
    source: _Slot
    inputs: tuple[_Slot, ...]
    targets: tuple[_Slot, ...]
    values: tuple[_Slot, ...]
    types: tuple[object, ...]
    about: T


class RepeatedPaths(Generic[T]):
    """Remembers paths of one phase, and finds those that a later one repeats.

    Args:
        split: The equations of the phase, sorted, and what repeats of them.
    """

    def __init__(self, split: SplitEquations) -> None:
        self._equations, self._flow = split.phase.equations, split.phase.flow
        self._reads, self._repeats, self._type_of = split.reads, split.repeats, split.phase.forms.type_of
        self._known: dict[int, _Known[T]] = {}

    def find(self, targets: Sequence[Var]) -> tuple[KvPath, tuple[Var, ...], T] | None:
        """Returns the path to some targets, the values on its way, and what is known of an earlier path that it repeats."""
        made = self._made(targets[0])
        place = self._repeats.turn(made[0]) if made else None
        known = self._known.get(place[0]) if place else None
        if place is None or known is None or place[1] <= known.turn:
            return None
        first, shift = self._repeats.first, (place[1] - known.turn) * self._repeats.period
        positions = [n + shift if n >= first else n for n in known.equations]
        if max(positions[-1], *(n + shift for n, _ in known.targets)) >= self._repeats.end:
            return None
        if [self._made(v) for v in targets] != [(n + shift, m) for n, m in known.targets]:
            return None
        values = tuple([self._equations[n + shift].outvars[m] for n, m in known.values])
        if tuple(map(self._type_of, values)) != known.types:
            return None
        equations = tuple([self._equations[n] for n in positions])
        source, *inputs = (self._reads[id(equations[n])][m] for n, m in (known.source, *known.inputs))
        return KvPath(source, (targets[0], targets[1]), equations, tuple(inputs)), values, known.about

    def remember(self, path: KvPath, values: Sequence[Var], last: Eqn | None, about: T) -> None:
        """Notes a path that later ones may repeat.

        Args:
            path: The path.
            values: Those on its way among which its source was chosen.
            last: The earliest equation that was looked at for them.
            about: What is known of the path.
        """
        order, first, period = self._flow.order, self._repeats.first, self._repeats.period
        targets, made = [self._made(v) for v in path.targets], [self._made(v) for v in values]
        place = self._repeats.turn(targets[0][0]) if targets[0] else None
        positions = tuple([order[id(e)] for e in path.equations])
        if place is None or last is None or order[id(last)] < first or None in targets or None in made:
            return
        if any(first - period <= n < first for n in positions):
            return
        read: dict[Var, _Slot] = {}
        for n, e in enumerate(path.equations):
            for m, v in enumerate(self._reads[id(e)]):
                read.setdefault(v, (n, m))
        self._known[place[0]] = _Known(
            place[1],
            positions,
            read[path.source],
            tuple([read[v] for v in path.inputs]),
            tuple([slot for slot in targets if slot]),
            tuple([slot for slot in made if slot]),
            tuple(map(self._type_of, values)),
            about,
        )

    def _made(self, var: Var) -> _Slot | None:
        """Returns where a variable is made; None for an input."""
        eqn = self._flow.maker.get(var)
        return None if eqn is None else (self._flow.order[id(eqn)], eqn.outvars.index(var))
