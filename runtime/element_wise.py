"""Bytes that the element-wise work between matrix products moves.

The mechanism is that of a processor that runs in *stages*: matrix products, look-ups and updates in place end one, since their
results come out of memory. All element-wise work of a stage, reductions and views included, is one pass: it reads what it
needs once and writes what a matrix product, a look-up, an update or a later reader wants. A value wanted by a later stage is
made again there where that reads less.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from partitioner.jaxpr import Eqn, Var, num_bytes, variables

VIEWS = frozenset(
    {
        "broadcast_in_dim",
        "convert_element_type",
        "copy",
        "expand_dims",
        "reshape",
        "squeeze",
        "transpose",
    }
)


@dataclass(frozen=True)
class Stages:
    """Holds what element-wise work moves, by stage.

    Attributes:
        of: For each equation, the stage it belongs to; one whose result comes out of memory belongs to the stage it ends.
        num_bytes: For each stage, what its pass reads and writes.
    """

    of: tuple[int, ...]
    num_bytes: Mapping[int, float]


def stages(equations: Sequence[Eqn], ends_stage: Collection[int], outputs: Iterable[Var]) -> Stages:
    """Returns the stages of equations, and the bytes that element-wise work reads and writes in each.

    Args:
        equations: Equations that run together, in order.
        ends_stage: Positions of those whose operands and results are in memory.
        outputs: What is read when they are done.
    """
    passes = _Passes(equations, ends_stage)
    return Stages(passes.stages, passes.num_bytes(outputs))


def stored_as(var: Var, maker: Mapping[Var, Eqn]) -> tuple[Var, int]:
    """Returns what a value is a view of, and the bytes that stream in: conversions and views are done on the way."""
    size = num_bytes(var)
    while (eqn := maker.get(var)) is not None and eqn.primitive.name in VIEWS:
        read = variables(eqn.invars)
        if len(read) != 1:
            break
        var = read[0]
        size = min(size, num_bytes(var))
    return var, size


class _Passes:
    """The stages of some equations."""

    def __init__(self, equations: Sequence[Eqn], ends_stage: Collection[int]) -> None:
        self._maker: dict[Var, Eqn] = {}
        self._stage: dict[Var, int] = {}
        self._position: dict[Var, int] = {}
        self._made_in_passes: set[Var] = set()
        self._wanted: dict[Var, int] = {}
        self._reads: dict[tuple[Var, int], dict[Var, int]] = {}
        found: list[int] = []
        for position, eqn in enumerate(equations):
            ends = position in ends_stage
            found.append(max((self._stage.get(v, 0) for v in variables(eqn.invars)), default=0))
            stage = found[-1] + ends
            self._maker.update((v, eqn) for v in eqn.outvars)
            self._stage.update((v, stage) for v in eqn.outvars)
            self._position.update((v, position) for v in eqn.outvars)
            if ends:
                self._want(variables(eqn.invars))
            else:
                self._made_in_passes.update(eqn.outvars)
        self.stages = tuple(found)

    def num_bytes(self, outputs: Iterable[Var]) -> dict[int, float]:
        """Returns the bytes of the pass of every stage that has one."""
        self._want(outputs)
        read: dict[int, dict[Var, int]] = {}
        done: set[Var] = set()
        while left := self._wanted.keys() - done:
            for var in sorted(left, key=self._position.__getitem__):
                stage = self._stage[var]
                read.setdefault(stage, {}).update(self._read_to_make(var, stage))
            done |= left
        total = {stage: float(sum(found.values())) for stage, found in read.items()}
        for var, size in self._wanted.items():
            total[self._stage[var]] += size
        return total

    def _want(self, values: Iterable[Var]) -> None:
        """Has values written to memory, unless they are there."""
        for value in values:
            var, size = stored_as(value, self._maker)
            if var in self._made_in_passes:
                self._wanted[var] = max(size, self._wanted.get(var, 0))

    def _read_to_make(self, var: Var, stage: int) -> dict[Var, int]:
        """Returns what the pass of a stage reads to make a value, with bytes."""
        if (var, stage) not in self._reads:
            found: dict[Var, int] = {}
            for operand in variables(self._maker[var].invars):
                found.update(self._read(operand, stage))
            self._reads[var, stage] = found
        return self._reads[var, stage]

    def _read(self, var: Var, stage: int) -> dict[Var, int]:
        """Returns what the pass of a stage reads to have a value: nothing but that of its own operands where it makes it."""
        if var not in self._made_in_passes:
            return {var: num_bytes(var)}
        is_own = self._stage[var] == stage
        if is_own or var not in self._wanted:
            made = self._read_to_make(var, stage)
            if is_own or sum(made.values()) <= num_bytes(var):
                return made
            self._wanted[var] = num_bytes(var)
        return {var: num_bytes(var)}
