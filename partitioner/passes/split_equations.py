"""Sorts equations into index arithmetic, parameter views, and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from partitioner.dataflow import Dataflow
from partitioner.equation_repeats import Repeats, equation_repeats
from partitioner.frontend.trace import TracedPhase
from partitioner.frontend.traced import INDEX_ROLES
from partitioner.jaxpr import Eqn, Var

VIEWS = frozenset(
    {
        "reshape",
        "transpose",
        "broadcast_in_dim",
        "convert_element_type",
        "squeeze",
        "expand_dims",
        "slice",
        "rev",
    }
)
_CHEAP = VIEWS | {"mul", "add", "sub", "div", "neg", "max", "min", "concatenate", "pad", "integer_pow"}
_INDEX, _PARAM, _DATA = 0, 1, 2


@dataclass(frozen=True)
class SplitEquations:
    """Holds a phase's equations by what they depend on.

    Attributes:
        index: On tokens, positions, masks, cursors and constants (or on nothing) alone.
        param: Cheap functions of parameters (and literals) alone: views, conversions, folded constants.
        data: All others.
        index_vars: Inputs and results of index arithmetic, constants among them.
        param_vars: Parameters and what is derived from them alone, with the parameter's name.
        reads: The variables that each equation reads, by its identity.
        phase: The phase.
        kinds: Of each equation of the phase a number: whether it is index arithmetic, a parameter view or data.
    """

    index: tuple[Eqn, ...]
    param: tuple[Eqn, ...]
    data: tuple[Eqn, ...]
    index_vars: frozenset[Var]
    param_vars: dict[Var, str]
    reads: Mapping[int, Sequence[Var]]
    phase: TracedPhase
    kinds: tuple[int, ...]

    @cached_property
    def data_positions(self) -> tuple[int, ...]:
        """Returns the positions of data equations among those of the phase."""
        return tuple([n for n, kind in enumerate(self.kinds) if kind == _DATA])

    @cached_property
    def repeats(self) -> Repeats:
        """Tells which equations do, and are, what others do and are, layer by layer."""
        phase = self.phase
        inputs = [(i.name if i.role == "const" else i.role, phase.forms.type_of(i.var)) for i in phase.inputs]
        return equation_repeats(phase.numbers, self.kinds, inputs, phase.wired[0])

    @cached_property
    def flow(self) -> Dataflow:
        """Holds who makes and reads the values of data equations."""
        return Dataflow(self.data, self.reads, self.phase.flow.order)

    @cached_property
    def index_flow(self) -> Dataflow:
        """Holds who makes and reads the values of index arithmetic."""
        return Dataflow(self.index, self.reads, self.phase.flow.order)


def split_equations(phase: TracedPhase) -> SplitEquations:
    """Returns the phase's equations sorted by what they depend on, each list in execution order."""
    index_vars = {i.var for i in phase.inputs if i.role in INDEX_ROLES or i.role == "const"}
    param_vars = {i.var: i.name for i in phase.inputs if i.role in ("param", "rng")}
    index: list[Eqn] = []
    param: list[Eqn] = []
    data: list[Eqn] = []
    kinds: list[int] = []
    reads = phase.reads
    for eqn in phase.equations:
        read = reads[id(eqn)]
        if index_vars.issuperset(read) and not eqn.effects:
            index.append(eqn)
            kinds.append(_INDEX)
            index_vars.update(eqn.outvars)
        elif (
            read and read[0] in param_vars and eqn.primitive.name in _CHEAP and param_vars.keys() >= set(read)
        ):
            param.append(eqn)
            kinds.append(_PARAM)
            param_vars.update((v, param_vars[read[0]]) for v in eqn.outvars)
        else:
            data.append(eqn)
            kinds.append(_DATA)
    return SplitEquations(
        tuple(index),
        tuple(param),
        tuple(data),
        frozenset(index_vars),
        param_vars,
        reads,
        phase,
        tuple(kinds),
    )
