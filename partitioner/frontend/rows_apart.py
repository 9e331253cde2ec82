"""Lets every row of a batch count its own position, for models that count one position for all rows.

Such a model writes the new tokens of all rows into the same slots. Prompts of different lengths would have to be padded on the
left, or short ones would have slots in their midst that hold no token. Instead the step is mapped over rows, and the count that
a row is given is its own position: each row is a batch of one, and begins at slot 0 of its cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from partitioner.errors import ModelError
from partitioner.flatten import make_flat
from partitioner.frontend.step_function import StepFunction, named_leaves
from partitioner.jaxpr import Atom, Eqn, Literal, Var, borders, evaluate, needed_for, variables

_PROBE_ROWS = (2, 3)
_PROBE_LEN, _PROBE_POSITION = 8, 5


def rows_apart(function: StepFunction) -> StepFunction:
    """Returns a model whose rows are independent of each other: itself, unless it takes chunks and counts for all rows.

    Its state has no counters, which are whole numbers that do not depend on the number of rows; the arrays that are left keep
    their names and axes.

    Raises:
        ModelError: From the step, while it is traced: a whole number does not count the tokens so far, or an array of the
            state has no axis of rows.
    """
    if function.max_chunk is not None:
        return function
    described = _state(function)
    if not any(_is_counter(axis, leaf) for axis, leaf in described.values()):
        return function

    def init_state(batch_size: int, max_len: int) -> dict[str, Any]:
        leaves = dict(named_leaves(function.init_state(batch_size, max_len))[0])
        return {name: leaves[name] for name, (axis, leaf) in described.items() if not _is_counter(axis, leaf)}

    def step(
        params: Any, tokens: Any, state: Any, positions: Any, mask: Any, logits_at: Any
    ) -> tuple[Any, Any]:
        axes = {name: _rows_axis(function, name, described) for name in state}
        one_row = function.abstract_state(1, mask.shape[1])
        leaves, structure = named_leaves(one_row)
        _check_counters(function, described, params, one_row, tokens.shape[1], mask.shape[1])

        def run(
            tokens: Any, state: Mapping[str, Any], positions: Any, mask: Any, logits_at: Any
        ) -> tuple[Any, Any]:
            given = [
                jnp.expand_dims(state[name], axes[name])
                if name in state
                else jnp.full(leaf.shape, positions[0], leaf.dtype)
                for name, leaf in leaves
            ]
            batch = (x[None] for x in (positions, mask, logits_at))
            logits, made = function.step(params, tokens[None], structure.unflatten(given), *batch)
            after = dict(named_leaves(made)[0])
            return logits[0], {name: jnp.squeeze(after[name], axes[name]) for name in state}

        mapped = jax.vmap(run, in_axes=(0, axes, 0, 0, 0), out_axes=(0, axes))
        return mapped(tokens, state, positions, mask, logits_at)

    return dataclasses.replace(function, step=step, init_state=init_state)


def _state(function: StepFunction) -> dict[str, tuple[int | None, Any]]:
    """Returns each array of the state with its axis of rows, None where no axis or several depend on their number."""
    few, more = (dict(named_leaves(function.abstract_state(rows, _PROBE_LEN))[0]) for rows in _PROBE_ROWS)
    found: dict[str, tuple[int | None, Any]] = {}
    for name, leaf in few.items():
        sizes = zip(leaf.shape, more[name].shape, strict=True)
        axes = [axis for axis, size in enumerate(sizes) if size == _PROBE_ROWS]
        found[name] = axes[0] if len(axes) == 1 else None, leaf
    return found


def _rows_axis(function: StepFunction, name: str, described: Mapping[str, tuple[int | None, Any]]) -> int:
    axis, leaf = described[name]
    if axis is None:
        raise ModelError(
            f"{function.name} counts one position for all rows, and its state {name!r} of shape {list(leaf.shape)} for "
            f"{_PROBE_ROWS[0]} rows has no axis of rows, so that rows cannot be run apart; give it one, or count per row"
        )
    return axis


def _check_counters(
    function: StepFunction, described: Mapping[str, Any], params: Any, state: Any, chunk: int, max_len: int
) -> None:
    """Runs what becomes of the counters in a step of one row, which says whether they are what a position can stand for."""
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
    index = function.example_inputs(1, chunk, max_len)
    inputs, equations, outputs, consts, _ = make_flat(function.step, shapes, index[0], state, *index[1:])
    leaves = named_leaves(state)[0]
    first = len(jax.tree.leaves(shapes)) + 1
    before = dict(zip((name for name, _ in leaves), inputs[first:], strict=False))
    after = dict(zip((name for name, _ in leaves), outputs[1:], strict=True))
    counters = {name: leaf for name, leaf in leaves if _is_counter(*described[name])}
    given = {v: np.asarray(c) for v, c in consts}
    given |= {before[n]: np.full(leaf.shape, _PROBE_POSITION, leaf.dtype) for n, leaf in counters.items()}
    for name in counters:
        made = _settled(equations, given, after[name])
        if made is None or (made != _PROBE_POSITION + chunk).any():
            raise ModelError(
                f"{function.name} keeps whole numbers {name!r} for all rows at once, which do not grow by the {chunk} tokens "
                "of a step, so that rows of different lengths cannot be run apart; keep them per row, or take one token a "
                "step (max_chunk=1)"
            )


def _settled(equations: Sequence[Eqn], given: Mapping[Var, Any], atom: Atom) -> np.ndarray | None:
    """Returns the value of an output that depends on what is given alone; None where it depends on more."""
    needed = needed_for(equations, variables([atom]))
    if any(v not in given for v in borders(needed)):
        return None
    with jax.ensure_compile_time_eval():
        env = evaluate(needed, dict(given))
    if isinstance(atom, Literal):
        return np.asarray(atom.val)
    return np.asarray(env[atom]) if atom in env else None


def _is_counter(rows_axis: int | None, leaf: Any) -> bool:
    return rows_axis is None and jnp.issubdtype(leaf.dtype, jnp.integer)
