"""The op graph of one phase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from partitioner.frontend.trace import TracedPhase
from partitioner.frontend.traced import INDEX_ROLES, TracedInput, TracedOutput
from partitioner.ir.op import Op
from partitioner.ir.tensor_parallel import TensorParallel
from partitioner.jaxpr import Eqn, Var, num_bytes


@dataclass(frozen=True)
class Unraised:
    """Names a cache whose attention was not found or not confirmed, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class OpGraph:
    """Holds the ops of a phase in execution order.

    Attributes:
        phase: What was traced.
        ops: In an order in which every op follows its producers.
        index_equations: Arithmetic on tokens, positions, masks and cursors alone; ops repeat what they need of it.
        param_equations: Views and conversions of parameters alone; repeated likewise.
        unraised: Attention left as plain ops, with the reason.
        parallel: How parameters and caches are cut over several GPUs; None for one.
    """

    phase: TracedPhase
    ops: tuple[Op, ...]
    index_equations: tuple[Eqn, ...]
    param_equations: tuple[Eqn, ...] = ()
    unraised: tuple[Unraised, ...] = ()
    parallel: TensorParallel | None = None

    @cached_property
    def producer(self) -> Mapping[Var, int]:
        """Maps a variable to the index of the op that makes it."""
        return {v: i for i, op in enumerate(self.ops) for v in op.outputs}

    @cached_property
    def consumers(self) -> Mapping[Var, tuple[int, ...]]:
        """Maps a variable to the indices of the ops that read it."""
        found: dict[Var, list[int]] = {}
        for i, op in enumerate(self.ops):
            for v in op.inputs:
                found.setdefault(v, []).append(i)
        return {v: tuple(i) for v, i in found.items()}

    @cached_property
    def input_of(self) -> Mapping[Var, TracedInput]:
        """Maps an input variable to its description."""
        return self.phase.input_of

    @cached_property
    def param_bytes(self) -> Mapping[str, int]:
        """Maps the name of a parameter to its bytes."""
        return {i.name: num_bytes(i.var) for i in self.phase.inputs if i.role == "param"}

    @cached_property
    def cache_bytes(self) -> Mapping[str, int]:
        """Maps the name of a cache to its bytes."""
        return {i.name: num_bytes(i.var) for i in self.phase.inputs if i.role == "cache"}

    @cached_property
    def param_equation_ids(self) -> frozenset[int]:
        """Holds the identities of the views and conversions of parameters."""
        return frozenset(map(id, self.param_equations))

    @cached_property
    def output_of(self) -> Mapping[Var, TracedOutput]:
        """Maps an output variable to its description (the first, where it is returned twice)."""
        found: dict[Var, TracedOutput] = {}
        for o in self.phase.outputs:
            if isinstance(o.atom, Var):
                found.setdefault(o.atom, o)
        return found

    @cached_property
    def kept_inputs(self) -> frozenset[Var]:
        """Holds the inputs of layers that caches keep in place of K and V."""
        sources = (op.attention.source for op in self.ops if op.attention)
        return frozenset(source.value for source in sources if source)

    @cached_property
    def index_inputs(self) -> frozenset[Var]:
        """Holds the inputs that are tokens, positions, masks or cursors."""
        return frozenset(i.var for i in self.phase.inputs if i.role in INDEX_ROLES)

    def __str__(self) -> str:
        rows = [str(self.phase)]
        rows += [f"  {op}" for op in self.ops]
        rows += [f"  not raised: {u.name}: {u.reason}" for u in self.unraised]
        return "\n".join(rows)
