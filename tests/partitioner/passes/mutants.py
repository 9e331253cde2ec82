"""Decode steps in which one equation of an attention was changed."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from partitioner.flatten import make_flat
from partitioner.frontend import TracedPhase
from partitioner.jaxpr import (
    Eqn,
    Literal,
    Var,
    aval_of,
    borders,
    dtype_of,
    replacement_of,
    shape_of,
    variables,
)
from partitioner.passes.find_attention import find_attention
from partitioner.passes.split_equations import split_equations

Change = Callable[..., Any]
"""From the equation as a function of its variables, and their values, to what stands in its place."""


@dataclasses.dataclass(frozen=True, eq=False)
class Mutant:
    """A decode step that was changed.

    Attributes:
        name: The spelling, what was done, and to which equation.
        phase: The step.
        is_narrowed: Whether something was rounded to bfloat16.
    """

    name: str
    phase: TracedPhase
    is_narrowed: bool = False


def mutants_of(name: str, phase: TracedPhase) -> Iterator[Mutant]:
    """Yields every step that one of the changes makes of a step with one attention."""
    split = split_equations(phase)
    (region,), _ = find_attention(phase, split)
    index = split.index_flow.needed_for(borders(region.equations))
    for number, eqn in enumerate([*index, *region.equations]):
        for what, change in _changes(eqn):
            yield Mutant(
                f"{name}: {what} in {number} {eqn.primitive.name}",
                replaced(phase, eqn, change),
                what == "rounded",
            )
    yield from _exchanged(name, phase, region.key.contraction, region.value.contraction)


def _exchanged(name: str, phase: TracedPhase, first: Eqn, second: Eqn) -> Iterator[Mutant]:
    """Yields steps in which one of the products reads what the other one does, where shapes allow."""
    for place, eqn, other in (("q.K", first, second), ("p.V", second, first)):
        for operand in (0, 1):
            for taken in variables(other.invars):
                own = eqn.invars[operand]
                fits = aval_of(own).shape == aval_of(taken).shape and taken not in eqn.outvars
                made_before = taken not in _made_behind(phase, eqn)
                if fits and own is not taken and made_before:
                    invars = [taken if n == operand else a for n, a in enumerate(eqn.invars)]
                    equations = tuple(e.replace(invars=invars) if e is eqn else e for e in phase.equations)
                    changed = dataclasses.replace(phase, equations=equations)
                    yield Mutant(f"{name}: {place} reads another operand {operand}", changed)


def _made_behind(phase: TracedPhase, eqn: Eqn) -> set[Var]:
    place = next(n for n, e in enumerate(phase.equations) if e is eqn)
    return {v for e in phase.equations[place:] for v in e.outvars}


def replaced(phase: TracedPhase, eqn: Eqn, change: Change) -> TracedPhase:
    """Returns the step with another function of the same variables in the place of an equation."""
    read = list(dict.fromkeys(variables(eqn.invars)))

    def own(*values: Any, literals: Sequence[Any] | None = None) -> Any:
        found = dict(zip(read, values, strict=True))
        given = [a.val for a in eqn.invars if isinstance(a, Literal)] if literals is None else literals
        rest = iter(given)
        operands = [next(rest) if isinstance(a, Literal) else found[a] for a in eqn.invars]
        return eqn.primitive.bind(*operands, **eqn.primitive.get_bind_params(eqn.params))

    shapes = [jax.ShapeDtypeStruct(shape_of(v), dtype_of(v)) for v in read]
    inner, made, (result,), consts, _ = make_flat(lambda *values: change(own, eqn, *values), *shapes)
    assert not consts
    new: dict[Any, Any] = dict(zip(inner, read, strict=True))
    (old,) = eqn.outvars
    if any(v is result for e in made for v in e.outvars):
        new[result] = old
        after: dict[Any, Any] = {}
    else:  # one of the operands, or a number
        after = {old: result if isinstance(result, Literal) else new[result]}
    equations: list[Eqn] = []
    for e in phase.equations:
        if e is eqn:
            equations += [_with(m, new) for m in made]
        else:
            equations.append(_with(e, after))
    outputs = tuple(dataclasses.replace(o, atom=replacement_of(after, o.atom)) for o in phase.outputs)
    return dataclasses.replace(phase, equations=tuple(equations), outputs=outputs)


def _with(eqn: Eqn, new: dict[Any, Any]) -> Eqn:
    return eqn.replace(
        invars=[replacement_of(new, a) for a in eqn.invars], outvars=[new.get(v, v) for v in eqn.outvars]
    )


def _changes(eqn: Eqn) -> Iterator[tuple[str, Change]]:
    """Yields what can be done to an equation, each with a name."""
    name, (out,) = eqn.primitive.name, eqn.outvars
    is_float = jnp.issubdtype(dtype_of(out), jnp.floating)
    literals = [np.asarray(a.val) for a in eqn.invars if isinstance(a, Literal)]
    alike = [v for v in variables(eqn.invars) if aval_of(v) == aval_of(out)]
    if any(x.ndim == 0 and np.issubdtype(x.dtype, np.floating) and 0 < abs(x) < 1e4 for x in literals):
        yield "a number a tenth larger", _other_literals(lambda x: x * x.dtype.type(1.1))
    if any(x.ndim == 0 and np.issubdtype(x.dtype, np.integer) for x in literals):
        yield "a number one more", _other_literals(lambda x: x + x.dtype.type(1))
    for other in _COMPARISONS.get(name, ()):
        yield f"{other} for {name}", _compared(other)
    if name in ("sub", "div", "le", "lt", "gt", "ge") and len(variables(eqn.invars)) == 2:
        yield "operands swapped", lambda own, e, a, b: _same(own(b, a), e)
    if name == "select_n" and len(eqn.invars) == 3 and len(variables(eqn.invars)) == 3:
        yield "cases swapped", lambda own, e, which, a, b: own(which, b, a)
    if alike:
        yield "nothing done", lambda own, e, *values: values[variables(e.invars).index(alike[0])]
    if name in ("reduce_max", "reduce_sum"):
        yield "heads taken together", _over_heads
    if name == "dynamic_update_slice" or (name == "scatter" and is_float):
        yield "a token written elsewhere", lambda own, e, *values: jnp.roll(own(*values), 1, axis=1)
    if not is_float:
        return
    if name in ("dot_general", "exp", "div", "mul", "tanh", "select_n", "broadcast_in_dim"):
        yield "doubled", lambda own, e, *values: own(*values) * 2
        yield "rounded", lambda own, e, *values: _same(own(*values).astype(jnp.bfloat16), e)
    if name in ("dot_general", "mul", "add", "div"):
        yield "capped", lambda own, e, *values: 3 * jnp.tanh(own(*values) / 3)
        for axis, size in enumerate(shape_of(out)):
            if size > 1:
                yield f"axis {axis} reversed", lambda own, e, *values, axis=axis: jnp.flip(own(*values), axis)
                yield (
                    f"more along axis {axis}",
                    lambda own, e, *values, axis=axis: _tilted(own(*values), axis),
                )


_COMPARISONS = {"le": ("lt", "gt"), "lt": ("le", "ge"), "ge": ("gt", "lt"), "gt": ("ge", "le")}


def _compared(other: str) -> Change:
    compare = {"le": jnp.less_equal, "lt": jnp.less, "ge": jnp.greater_equal, "gt": jnp.greater}[other]

    def change(own: Any, eqn: Eqn, *values: Any) -> Any:
        rest = iter(values)
        operands = [a.val if isinstance(a, Literal) else next(rest) for a in eqn.invars]
        return compare(*operands)

    return change


def _other_literals(of: Callable[[Any], Any]) -> Change:
    def change(own: Any, eqn: Eqn, *values: Any) -> Any:
        return own(*values, literals=[of(np.asarray(a.val)) for a in eqn.invars if isinstance(a, Literal)])

    return change


def _over_heads(own: Any, eqn: Eqn, *values: Any) -> Any:
    (x,) = values
    reduce = jnp.max if eqn.primitive.name == "reduce_max" else jnp.sum
    axes = tuple({*eqn.params["axes"], 1})
    return jnp.broadcast_to(
        reduce(x, axes, keepdims=True), [1 if a in axes else n for a, n in enumerate(x.shape)]
    ).reshape([1 if a == 1 else n for a, n in enumerate(x.shape) if a not in eqn.params["axes"]]) + jnp.zeros(
        shape_of(eqn.outvars[0]), x.dtype
    )


def _tilted(x: Any, axis: int) -> Any:
    """Adds a number that grows along an axis."""
    shape = [-1 if a == axis else 1 for a in range(x.ndim)]
    return x + jnp.arange(x.shape[axis], dtype=x.dtype).reshape(shape) * jnp.asarray(0.3, x.dtype)


def _same(value: Any, eqn: Eqn) -> Any:
    return value.astype(dtype_of(eqn.outvars[0]))
