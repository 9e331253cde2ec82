"""Makes K and V of all past tokens out of the stored input of their layer, by the model's own equations of a decode step.

A decode step makes K and V of one token per row. Mapped over the slots of a cache, with every slot told its own position, the
same equations make those of all tokens at once; a projection becomes one matrix product over all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax import numpy as jnp

from partitioner.flatten import make_flat
from partitioner.frontend.trace import TracedPhase
from partitioner.ir.layout import from_layout, product, to_layout
from partitioner.ir.op import Attention, AxisRole
from partitioner.jaxpr import Eqn, Literal, Var, dtype_of, evaluate, fresh_variables, shape_of
from partitioner.passes.find_kv_source import KvPath
from partitioner.passes.logit_rule import ValidationError
from partitioner.passes.validate_attention import CACHE_ROLES, NEW_ROLES


@dataclass(frozen=True)
class Recompute:
    """Holds flat equations from stored inputs to the caches of K and V.

    Attributes:
        rows: The stored inputs, ``[batch, slots, width]``.
        given: Parameters and constants that the equations read, as variables of the phase.
        equations: In execution order.
        caches: K and V in the layout of the model's caches.
    """

    rows: Var
    given: tuple[Var, ...]
    equations: tuple[Eqn, ...]
    caches: tuple[Var, Var]

    def renamed(self, given: Sequence[Var], rows: Var, caches: tuple[Var, Var]) -> Recompute:
        """Returns the same equations on other parameters, for another layer."""
        names: dict[Var, Var] = dict(zip(self.given, given, strict=True))
        names |= {self.rows: rows, **dict(zip(self.caches, caches, strict=True))}
        fresh = fresh_variables()
        equations: list[Eqn] = []
        for eqn in self.equations:
            for v in eqn.outvars:
                if v not in names:
                    names[v] = fresh(v.aval)
            equations.append(
                eqn.replace(
                    invars=[a if isinstance(a, Literal) else names[a] for a in eqn.invars],
                    outvars=[names[v] for v in eqn.outvars],
                )
            )
        return Recompute(rows, tuple(given), tuple(equations), caches)


def recompute_kv(
    phase: TracedPhase, path: KvPath, attention: Attention, batch_axis: int, num_slots: int
) -> Recompute:
    """Returns the equations that make the caches of K and V of stored inputs.

    Args:
        phase: A decode trace.
        path: From its layer's input to its new K and V.
        attention: Whose K and V they are; tells layouts and sizes.
        batch_axis: Axis of ``path.source`` that holds the rows.
        num_slots: Slots of the caches.

    Raises:
        ValidationError: K and V cannot be made so.
    """
    given = tuple(v for v in path.inputs if phase.input_of[v].role in ("param", "const"))
    width = product(shape_of(path.source)) // phase.batch_size
    shapes = [jax.ShapeDtypeStruct(shape_of(v), dtype_of(v)) for v in given]
    rows = jax.ShapeDtypeStruct((phase.batch_size, num_slots, width), dtype_of(path.source))
    function = _mapped(phase, path, attention, batch_axis, given)
    try:
        variables, equations, outputs, consts, _ = make_flat(function, rows, shapes)
    except (TypeError, ValueError) as error:
        raise ValidationError(f"K and V cannot be made for all tokens at once: {error}") from error
    keys, values = outputs
    if consts or isinstance(keys, Literal) or isinstance(values, Literal) or keys is values:
        raise ValidationError(
            "K and V cannot be made for all tokens at once: they are not both made of the stored input alone"
        )
    traced = Recompute(variables[0], tuple(variables[1:]), tuple(equations), (keys, values))
    return traced.renamed(given, variables[0], (keys, values))


def _mapped(
    phase: TracedPhase, path: KvPath, attention: Attention, batch_axis: int, given: Sequence[Var]
) -> Callable[..., tuple[Any, Any]]:
    shape = shape_of(path.source)
    inner = shape[:batch_axis] + shape[batch_axis + 1 :]
    sizes: Mapping[AxisRole, int] = {
        "batch": phase.batch_size,
        "kv_head": attention.num_kv_heads,
        "head_size": attention.head_size,
    }

    def at_slot(rows: Any, slot: Any, values: Sequence[Any]) -> tuple[Any, Any]:
        env: dict[Var, Any] = dict(zip(given, values, strict=True))
        env[path.source] = jnp.moveaxis(rows.reshape(phase.batch_size, *inner), 0, batch_axis)
        for v in path.inputs:
            if v not in env:
                env[v] = jnp.broadcast_to(slot.astype(dtype_of(v)), shape_of(v))
        evaluate(path.equations, env)
        first, second = (from_layout(env[t], attention.new_layout, NEW_ROLES, sizes) for t in path.targets)
        return first, second

    def function(rows: Any, values: Sequence[Any]) -> tuple[Any, Any]:
        slots = jnp.arange(rows.shape[1])
        made = jax.vmap(at_slot, in_axes=(1, 0, None), out_axes=2)(rows, slots, list(values))
        keys, fresh = (
            to_layout(a, CACHE_ROLES, attention.cache_layout).astype(attention.cache_dtype) for a in made
        )
        return keys, fresh

    return function
