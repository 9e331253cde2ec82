"""Traces one phase of a step function to flat equations whose inputs and outputs have roles and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp

from partitioner.dataflow import Dataflow
from partitioner.equation_forms import EquationForms, Wired
from partitioner.errors import ModelError
from partitioner.flatten import make_flat
from partitioner.frontend.step_function import StepFunction, cause, named_leaves
from partitioner.frontend.traced import Role, TracedInput, TracedOutput
from partitioner.frontend.unstack import Axes, Interface, unstack
from partitioner.jaxpr import Eqn, Var, reads_of
from partitioner.value_numbers import ValueNumbers


@dataclass(frozen=True)
class TracedPhase:
    """Holds one phase as flat equations.

    Attributes:
        name: ``prefill`` or ``decode``.
        equations: In execution order, without calls and without dead code.
        inputs: All inputs, named.
        outputs: Logits first, then the state.
        chunk: Tokens per row and step.
        batch_size: Rows.
        max_len: Cache slots per row.
        stacks: Along which axes stacked inputs were taken apart, round by round.
    """

    name: str
    equations: tuple[Eqn, ...]
    inputs: tuple[TracedInput, ...]
    outputs: tuple[TracedOutput, ...]
    batch_size: int
    chunk: int
    max_len: int
    stacks: tuple[Axes, ...] = ()

    @cached_property
    def input_of(self) -> Mapping[Var, TracedInput]:
        """Maps an input variable to its description."""
        return {i.var: i for i in self.inputs}

    @cached_property
    def forms(self) -> EquationForms:
        """Numbers the equations by what they compute."""
        return EquationForms(self.equations, self.reads)

    @cached_property
    def wired(self) -> Wired:
        """Holds all equations as numbers."""
        return self.forms.row(self.equations, self.numbers), self.numbers.of

    @cached_property
    def numbers(self) -> ValueNumbers:
        """Numbers all values."""
        return ValueNumbers.numbered([i.var for i in self.inputs], self.equations, self.reads)

    @cached_property
    def reads(self) -> Mapping[int, Sequence[Var]]:
        """Maps the identity of an equation to the variables that it reads."""
        return reads_of(self.equations)

    @cached_property
    def flow(self) -> Dataflow:
        """Holds who makes and reads the values of all equations."""
        return Dataflow(self.equations, self.reads)

    def __str__(self) -> str:
        rows = [f"{self.name}: batch {self.batch_size}, chunk {self.chunk}, cache {self.max_len}"]
        rows += [f"  {i.role:8} {i.name}: {i.var.aval}" for i in self.inputs if i.role != "param"]
        rows += [f"  {len(self.equations)} equations"]
        return "\n".join(rows)


def trace_phase(
    function: StepFunction,
    name: str,
    *,
    batch_size: int,
    chunk: int,
    max_len: int,
    stacks: Sequence[Axes] | None = None,
) -> TracedPhase:
    """Traces ``function.step`` for the given sizes; allocates nothing.

    Args:
        function: The model in its one form.
        name: ``prefill`` or ``decode``.
        batch_size: Rows.
        chunk: Tokens per row.
        max_len: Cache slots per row.
        stacks: What another phase of the model took apart, so that both name the same inputs; None to find out.

    Raises:
        ModelError: If a parameter is no array, if tracing fails, or if the outputs are not ``(logits, state)``.
    """
    params, _ = named_leaves(function.params)
    for path, leaf in params:
        if not (hasattr(leaf, "shape") and hasattr(leaf, "dtype")):
            raise ModelError(
                f"parameter {path!r} of {function.name} is no array but a {type(leaf).__name__}; pass arrays, and close over "
                "settings that are none"
            )
    state_shapes = function.abstract_state(batch_size, max_len)
    state, _ = named_leaves(state_shapes)
    tokens, positions, mask, logits_at = function.example_inputs(batch_size, chunk, max_len)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), function.params)
    param_roles: list[Role] = [_param_role(leaf) for _, leaf in params]
    state_roles: list[Role] = [_state_role(leaf) for _, leaf in state]
    roles: list[Role] = [*param_roles, "token", *state_roles, "position", "mask", "position"]
    try:
        invars, equations, outputs, consts, out_shape = make_flat(
            function.step,
            shapes,
            tokens,
            state_shapes,
            positions,
            mask,
            logits_at,
            origins=[r if r in ("cache", "param") else None for r in roles],
        )
    except Exception as error:  # the user's code ran: whatever it raised is the reason
        raise ModelError(
            f"tracing {name} of {function.name} for tokens int32[{batch_size}, {chunk}] and {max_len} cache slots failed: "
            f"{cause(error)}; the step must be traceable by jax.make_jaxpr on arrays of these shapes"
        ) from error
    _check_outputs(function, name, out_shape, state_shapes, batch_size)
    param_names = {n for n, _ in params}
    state_names = [f"cache.{n}" if n in param_names else n for n, _ in state]
    names = [*(n for n, _ in params), "tokens", *state_names, "positions", "mask", "logits_at"]
    inputs = [TracedInput(n, r, v) for n, r, v in zip(names, roles, invars, strict=True)]
    inputs += [TracedInput(f"const.{i}", "const", v, value) for i, (v, value) in enumerate(consts)]
    result_roles: list[Role] = ["logits", *state_roles]
    made = zip(["logits", *state_names], result_roles, outputs, strict=True)
    results = tuple(TracedOutput(n, r, a) for n, r, a in made)
    apart, rounds = unstack(Interface(tuple(inputs), tuple(equations), results), stacks)
    return TracedPhase(
        name=name,
        equations=apart.equations,
        inputs=apart.inputs,
        outputs=apart.outputs,
        batch_size=batch_size,
        chunk=chunk,
        max_len=max_len,
        stacks=rounds,
    )


def _check_outputs(
    function: StepFunction, name: str, out_shape: Any, state_shapes: Any, batch_size: int
) -> None:
    if not (isinstance(out_shape, tuple) and len(out_shape) == 2):
        raise ModelError(
            f"{function.name} must return (logits, cache) in {name}, got {type(out_shape).__name__}"
        )
    logits, state = out_shape
    if getattr(logits, "ndim", 0) != 3 or logits.shape[0] != batch_size:
        raise ModelError(
            f"logits of {function.name} must be [batch, tokens, vocab] with batch {batch_size} in {name}, got "
            f"{getattr(logits, 'shape', logits)}"
        )
    before = [(n, shape.shape, shape.dtype) for n, shape in named_leaves(state_shapes)[0]]
    after = [(n, shape.shape, shape.dtype) for n, shape in named_leaves(state)[0]]
    if before != after:
        changed = [b for b, a in zip(before, after, strict=False) if a != b][:1] or [("structure", (), "")]
        raise ModelError(
            f"the cache that {function.name} returns in {name} differs from the one it was given, first at "
            f"{changed[0][0]!r}; shapes, dtypes and structure must stay"
        )


def _param_role(leaf: Any) -> Role:
    return "rng" if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else "param"


def _state_role(leaf: Any) -> Role:
    """Tells caches from cursors: what counts or marks positions is whole numbers, and at most one per row and slot."""
    return "cache" if jnp.issubdtype(leaf.dtype, jnp.floating) or leaf.ndim > 2 else "cursor"
