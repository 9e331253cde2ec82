"""JAX's IR as this project uses it: the one file that imports ``jax.extend.core``.

jax 0.10 to 0.12 differ here (from 0.11 on ``ClosedJaxpr`` is ``Jaxpr``, call-like primitives were renamed), and nothing outside
this file has to know.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import jax
import numpy as np
from jax.extend import core

Var = core.Var
Literal = core.Literal
Eqn = core.JaxprEqn
Atom: TypeAlias = core.Var | core.Literal

_CALL_JAXPR_KEYS = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLS = frozenset(
    {
        "jit",
        "pjit",
        "closed_call",
        "core_call",
        "remat",
        "remat2",
        "checkpoint",
        "custom_jvp_call",
        "custom_vjp_call",
        "custom_vjp_call_jaxpr",
        "custom_lin",
    }
)
_IDENTITIES = frozenset({"stop_gradient", "copy", "optimization_barrier", "name"})


def is_literal(atom: Atom) -> bool:
    """Tells a constant written into an equation from a variable."""
    return isinstance(atom, core.Literal)


def variables(atoms: Iterable[Atom]) -> list[Var]:
    """Returns the variables among atoms, in order, without literals."""
    return [a for a in atoms if not isinstance(a, Literal)]


def reads_of(equations: Iterable[Eqn]) -> dict[int, list[Var]]:
    """Returns the variables that each equation reads, by its identity."""
    return {id(e): [a for a in e.invars if not isinstance(a, Literal)] for e in equations}


def aval_of(atom: Atom) -> Any:
    """Returns an atom's abstract value."""
    return atom.aval


def num_bytes(atom: Atom) -> int:
    """Returns the bytes an array of this abstract value occupies."""
    aval: Any = atom.aval
    size = 1
    for d in aval.shape:
        size *= int(d)
    return size * aval.dtype.itemsize


def shape_of(atom: Atom) -> tuple[int, ...]:
    """Returns the shape of an atom's abstract value."""
    aval: Any = atom.aval
    return tuple(aval.shape)


def dtype_of(atom: Atom) -> Any:
    """Returns the dtype of an atom's abstract value."""
    aval: Any = atom.aval
    return aval.dtype


def bytes_of(value: Any) -> bytes:
    """Returns the contents of a constant, by which it can be told from others of its type."""
    if jax.numpy.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    return np.asarray(value).tobytes()


def fresh_variables() -> Callable[[Any], Var]:
    """Returns a function that makes a new variable of a given type."""
    return core.gensym()


def replacement_of(env: Mapping[Var, Atom], atom: Atom) -> Atom:
    """Returns what an atom has become; itself where nothing took its place."""
    return atom if isinstance(atom, core.Literal) else env.get(atom, atom)


def trace(function: Callable[..., Any], *args: Any) -> tuple[Any, Sequence[Any], Any]:
    """Returns the jaxpr of a function, the arrays it closes over, and the pytree of its output's shapes."""
    closed, out_shape = jax.make_jaxpr(function, return_shape=True)(*args)
    return getattr(closed, "jaxpr", closed), closed.consts, out_shape


def equations_of(function: Callable[..., Any], operands: Sequence[Atom]) -> tuple[list[Eqn], list[Atom]]:
    """Traces a function on operands of an equation to be; returns its equations, which read them, and its results."""
    avals: list[Any] = [a.aval for a in operands]
    jaxpr, _, _ = trace(function, *(jax.ShapeDtypeStruct(a.shape, a.dtype) for a in avals))
    given: dict[Var, Atom] = dict(zip(jaxpr.invars, operands, strict=True))
    equations = [e.replace(invars=[replacement_of(given, a) for a in e.invars]) for e in jaxpr.eqns]
    return equations, [replacement_of(given, a) for a in jaxpr.outvars]


def called_jaxpr(eqn: Eqn) -> tuple[Any, Sequence[Any]] | None:
    """Returns the body of a call-like equation and the arrays it closes over; None where an equation calls nothing."""
    if eqn.primitive.name not in _CALLS:
        return None
    bodies = (eqn.params.get(key) for key in _CALL_JAXPR_KEYS)
    return next((opened(body) for body in bodies if body is not None), None)


def opened(body: Any) -> tuple[Any, Sequence[Any]]:
    """Returns a body without the arrays it closes over, and those."""
    return getattr(body, "jaxpr", body), getattr(body, "consts", ())


def is_identity(eqn: Eqn) -> bool:
    """Tells an equation that hands its operands on."""
    return eqn.primitive.name in _IDENTITIES and len(eqn.invars) == len(eqn.outvars)


def drop_dead(equations: Sequence[Eqn], outputs: Iterable[Atom]) -> list[Eqn]:
    """Returns the equations that the outputs need, in their order."""
    needed = set(variables(outputs))
    kept: list[Eqn] = []
    for eqn in reversed(equations):
        if eqn.effects or any(v in needed for v in eqn.outvars):
            kept.append(eqn)
            needed.update(variables(eqn.invars))
    return kept[::-1]


def needed_for(equations: Sequence[Eqn], wanted: Iterable[Var]) -> list[Eqn]:
    """Returns those of the equations that variables depend on, in their order."""
    maker = {v: e for e in equations for v in e.outvars}
    found: set[int] = set()
    pending = list(wanted)
    while pending:
        eqn = maker.get(pending.pop())
        if eqn is not None and id(eqn) not in found:
            found.add(id(eqn))
            pending += variables(eqn.invars)
    return [e for e in equations if id(e) in found]


def made_of(given: Iterable[Var], equations: Iterable[Eqn]) -> list[Eqn]:
    """Returns the equations that depend on any of some variables, in their order."""
    made = set(given)
    found: list[Eqn] = []
    for eqn in equations:
        if not made.isdisjoint(variables(eqn.invars)):
            found.append(eqn)
            made.update(eqn.outvars)
    return found


def evaluate(equations: Iterable[Eqn], env: dict[Var, Any]) -> dict[Var, Any]:
    """Runs equations on values, adding every result to ``env``; works on arrays and on tracers."""
    for eqn in equations:
        values = [a.val if isinstance(a, core.Literal) else env[a] for a in eqn.invars]
        with eqn.ctx.manager:
            results = eqn.primitive.bind(*values, **eqn.primitive.get_bind_params(eqn.params))
        if not eqn.primitive.multiple_results:
            results = [results]
        env.update(zip(eqn.outvars, results, strict=True))
    return env


def borders(equations: Sequence[Eqn], reads: Mapping[int, Sequence[Var]] | None = None) -> list[Var]:
    """Returns what a group of equations reads from outside, in order of first use.

    Args:
        equations: The group, in execution order.
        reads: The variables that each of them reads, by its identity, if they are known.
    """
    made: set[Var] = set()
    read: dict[Var, None] = {}
    for eqn in equations:
        for v in variables(eqn.invars) if reads is None else reads[id(eqn)]:
            if v not in made:
                read[v] = None
        made.update(eqn.outvars)
    return list(read)


def signature(equations: Sequence[Eqn], inputs: Sequence[Var], outputs: Sequence[Atom]) -> tuple[Any, ...]:
    """Returns a hashable form that two groups share exactly if they compute the same function of their inputs."""
    number: dict[Var, int] = {v: i for i, v in enumerate(inputs)}
    rows: list[Any] = [tuple((shape_of(v), str(dtype_of(v))) for v in inputs)]
    for eqn in equations:
        operands = tuple(number[v] for v in variables(eqn.invars))
        for v in eqn.outvars:
            number[v] = len(number)
        rows.append((equation_key(eqn), operands))
    rows.append(tuple(literal_key(a) if isinstance(a, core.Literal) else number[a] for a in outputs))
    return tuple(rows)


def equation_key(eqn: Eqn) -> tuple[Any, ...]:
    """Returns a hashable form that two equations share exactly if they compute the same function of their variables."""
    literals = tuple(literal_key(a) if isinstance(a, core.Literal) else None for a in eqn.invars)
    return (eqn.primitive.name, literals, _params_key(eqn.params), len(eqn.outvars))


def literal_key(atom: Atom) -> tuple[Any, ...]:
    """Returns what tells a literal from others: its contents and its type."""
    aval: Any = atom.aval
    value: Any = getattr(atom, "val", None)
    return (np.asarray(value).tobytes(), _dtype_name(aval.dtype), tuple(aval.shape))


@functools.cache
def _dtype_name(dtype: Any) -> str:
    return dtype.name


def _params_key(params: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple((k, params[k] if _is_plain(params[k]) else str(params[k])) for k in sorted(params))


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, int | float | str | np.dtype)


def itemsize(dtype: str) -> int:
    """Returns the bytes of one element of a floating dtype by name."""
    sizes = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
    return sizes[dtype]
