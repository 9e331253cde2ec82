"""Runs equations in NumPy, primitive by primitive: a small region is done before a compiler would have begun.

Only primitives whose NumPy form is the same function, to rounding, have a rule; the tests hold each of them against JAX.
Arithmetic on floats of 16 bits is done on 32, one primitive at a time, and rounded after it, as a processor without them would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from partitioner.jaxpr import Eqn, Var, aval_of, is_literal

Array = np.ndarray
Rule = Callable[[Mapping[str, Any], Sequence[Array]], Any]

_WHOLE = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_DTYPES = frozenset({"bool", *_WHOLE, "float16", "bfloat16", "float32", "float64"})


def has_numpy_rule(eqn: Eqn) -> bool:
    """Tells whether an equation can be run in NumPy, with its parameters and dtypes."""
    name = eqn.primitive.name
    avals = [aval_of(a) for a in (*eqn.invars, *eqn.outvars)]
    if name not in RULES or any(
        getattr(a, "dtype", None) is None or a.dtype.name not in _DTYPES for a in avals
    ):
        return False
    accepts = _CONDITIONS.get(name)
    one = len(eqn.outvars) == 1 or name in _SEVERAL
    return not eqn.effects and one and (accepts is None or accepts(eqn))


def evaluate_in_numpy(equations: Iterable[Eqn], env: dict[Var, Any]) -> dict[Var, Any]:
    """Runs equations that all have a rule on arrays, adding every result to ``env``."""
    with np.errstate(all="ignore"):
        for eqn in equations:
            name = eqn.primitive.name
            values = [_value(a, env) for a in eqn.invars]
            result = RULES[name](eqn.params, values if name in _MOVES else [_widened(v) for v in values])
            for v, array in zip(eqn.outvars, result if name in _SEVERAL else [result], strict=True):
                env[v] = _typed(array, aval_of(v).dtype)
    return env


def _value(atom: Any, env: Mapping[Var, Any]) -> Array:
    return _typed(atom.val if is_literal(atom) else env[atom], aval_of(atom).dtype)


def _typed(value: Any, dtype: Any) -> Array:
    array = value if isinstance(value, np.ndarray) else np.asarray(value)
    return array if array.dtype == dtype else array.astype(dtype)


def _widened(value: Array) -> Array:
    narrow = value.dtype.itemsize == 2 and value.dtype.kind not in "iu"
    return value.astype(np.float32) if narrow else value


def _elementwise(function: Callable[..., Any]) -> Rule:
    return lambda params, values: function(*values)


def _reduction(function: Callable[..., Any]) -> Rule:
    return lambda params, values: function(values[0], axis=tuple(params["axes"]))


def _broadcast_in_dim(params: Mapping[str, Any], values: Sequence[Array]) -> Array:
    shape, axes = params["shape"], params["broadcast_dimensions"]
    sizes = [1] * len(shape)
    for axis, size in zip(axes, values[0].shape, strict=True):
        sizes[axis] = size
    spread = values[0].reshape(sizes)
    return spread if spread.shape == shape else np.broadcast_to(spread, shape)


def _concatenate(params: Mapping[str, Any], values: Sequence[Array]) -> Array:
    return np.concatenate(values, axis=params["dimension"])


def _iota(params: Mapping[str, Any], values: Sequence[Array]) -> Array:
    shape, axis = params["shape"], params["dimension"]
    sizes = [-1 if a == axis else 1 for a in range(len(shape))]
    return np.broadcast_to(np.arange(shape[axis]).reshape(sizes), shape)


def _select_n(params: Mapping[str, Any], values: Sequence[Array]) -> Array:
    which, first, second = values
    return np.where(which, second, first)


def _slice(params: Mapping[str, Any], values: Sequence[Array]) -> Array:
    starts, limits = params["start_indices"], params["limit_indices"]
    strides = params["strides"] or (1,) * len(starts)
    return values[0][tuple(slice(*part) for part in zip(starts, limits, strides, strict=True))]


def _split(params: Mapping[str, Any], values: Sequence[Array]) -> list[Array]:
    return np.split(values[0], np.cumsum(params["sizes"])[:-1], axis=params["axis"])


def _dot_general(params: Mapping[str, Any], values: Sequence[Array]) -> Array:
    (left_contract, right_contract), (left_batch, right_batch) = params["dimension_numbers"]
    left, right = values
    left_free = [a for a in range(left.ndim) if a not in (*left_contract, *left_batch)]
    right_free = [a for a in range(right.ndim) if a not in (*right_contract, *right_batch)]
    batch = [left.shape[a] for a in left_batch]
    contracted = int(np.prod([left.shape[a] for a in left_contract], dtype=np.int64))
    rows, columns = [left.shape[a] for a in left_free], [right.shape[a] for a in right_free]
    first = left.transpose([*left_batch, *left_free, *left_contract]).reshape(*batch, -1, contracted)
    second = right.transpose([*right_batch, *right_contract, *right_free]).reshape(*batch, contracted, -1)
    return np.matmul(first, second).reshape(*batch, *rows, *columns)


def _dynamic_slice(params: Mapping[str, Any], values: Sequence[Array]) -> Array:
    operand, *starts = values
    return operand[_place(operand.shape, params["slice_sizes"], starts)]


def _dynamic_update_slice(params: Mapping[str, Any], values: Sequence[Array]) -> Array:
    operand, update, *starts = values
    result = operand.copy()
    result[_place(operand.shape, update.shape, starts)] = update
    return result


def _place(shape: Sequence[int], sizes: Sequence[int], starts: Sequence[Array]) -> tuple[slice, ...]:
    """Returns where a part of an array lies, moved so that it lies inside."""
    rows = zip(shape, sizes, starts, strict=True)
    first = [min(max(int(start), 0), whole - part) for whole, part, start in rows]
    return tuple(slice(f, f + part) for f, part in zip(first, sizes, strict=True))


def _scatter(params: Mapping[str, Any], values: Sequence[Array]) -> Array:
    """Writes windows at indices that are clipped so that each window lies inside."""
    operand, indices, updates = values
    numbers = params["dimension_numbers"]
    window_axes = [int(a) for a in numbers.update_window_dims]
    fixed = {int(a) for a in (*numbers.inserted_window_dims, *numbers.operand_batching_dims)}
    axis_of = dict(zip((d for d in range(operand.ndim) if d not in fixed), window_axes, strict=True))
    scattered = [a for a in range(updates.ndim) if a not in window_axes]

    def along(axis: int, size: int) -> Array:
        return np.arange(size).reshape([-1 if a == axis else 1 for a in range(updates.ndim)])

    position: list[Any] = [0] * operand.ndim
    for d, axis in axis_of.items():
        position[d] = along(axis, updates.shape[axis])
    for component, d in enumerate(int(d) for d in numbers.scatter_dims_to_operand_dims):
        width = updates.shape[axis_of[d]] if d in axis_of else 1
        start = np.clip(indices[..., component], 0, operand.shape[d] - width)
        sizes = [1] * updates.ndim
        for axis, size in zip(scattered, start.shape, strict=True):
            sizes[axis] = size
        position[d] = position[d] + start.reshape(sizes)
    pairs = zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)
    for d, batch_axis in pairs:
        position[int(d)] = along(scattered[int(batch_axis)], operand.shape[int(d)])
    result = operand.copy()
    result[tuple(position)] = updates
    return result


def _is_float(eqn: Eqn) -> bool:
    return aval_of(eqn.outvars[0]).dtype.kind not in "iub"


def _is_not_float_to_int(eqn: Eqn) -> bool:
    """Tells whether a conversion needs no rule for what lies outside the range of whole numbers."""
    return (
        _is_float(eqn)
        or aval_of(eqn.invars[0]).dtype.kind in "iub"
        or aval_of(eqn.outvars[0]).dtype.kind == "b"
    )


RULES: Mapping[str, Rule] = {
    "abs": _elementwise(np.abs),
    "add": _elementwise(np.add),
    "and": _elementwise(np.bitwise_and),
    "broadcast_in_dim": _broadcast_in_dim,
    "concatenate": _concatenate,
    "convert_element_type": lambda params, values: values[0],
    "cos": _elementwise(np.cos),
    "div": _elementwise(np.divide),
    "dot_general": _dot_general,
    "dynamic_slice": _dynamic_slice,
    "dynamic_update_slice": _dynamic_update_slice,
    "eq": _elementwise(np.equal),
    "exp": _elementwise(np.exp),
    "ge": _elementwise(np.greater_equal),
    "gt": _elementwise(np.greater),
    "integer_pow": lambda params, values: values[0] ** params["y"],
    "iota": _iota,
    "le": _elementwise(np.less_equal),
    "log": _elementwise(np.log),
    "lt": _elementwise(np.less),
    "max": _elementwise(np.maximum),
    "min": _elementwise(np.minimum),
    "mul": _elementwise(np.multiply),
    "ne": _elementwise(np.not_equal),
    "neg": _elementwise(np.negative),
    "not": _elementwise(np.invert),
    "or": _elementwise(np.bitwise_or),
    "reduce_max": _reduction(np.max),
    "reduce_sum": _reduction(np.sum),
    "rem": _elementwise(np.fmod),
    "reshape": lambda params, values: values[0].reshape(params["new_sizes"]),
    "scatter": _scatter,
    "select_n": _select_n,
    "sin": _elementwise(np.sin),
    "slice": _slice,
    "split": _split,
    "sqrt": _elementwise(np.sqrt),
    "squeeze": lambda params, values: np.squeeze(values[0], axis=tuple(params["dimensions"])),
    "sub": _elementwise(np.subtract),
    "tanh": _elementwise(np.tanh),
    "transpose": lambda params, values: np.transpose(values[0], params["permutation"]),
}

_MOVES = frozenset(
    {
        "broadcast_in_dim",
        "concatenate",
        "convert_element_type",
        "dynamic_slice",
        "dynamic_update_slice",
        "reshape",
        "scatter",
        "select_n",
        "slice",
        "split",
        "squeeze",
        "transpose",
    }
)
"""What takes values elsewhere and computes none."""

_SEVERAL = frozenset({"split"})
"""What has several results."""

_CONDITIONS: Mapping[str, Callable[[Eqn], bool]] = {
    "convert_element_type": _is_not_float_to_int,
    "div": _is_float,
    "dot_general": _is_float,
    "integer_pow": lambda eqn: _is_float(eqn) and eqn.params["y"] > 0,
    "rem": lambda eqn: (
        not _is_float(eqn) and is_literal(eqn.invars[1]) and bool(_value(eqn.invars[1], {}).all())
    ),
    "reshape": lambda eqn: eqn.params.get("dimensions") is None,
    "scatter": lambda eqn: eqn.params["mode"].name == "CLIP" and eqn.params["unique_indices"],
    "select_n": lambda eqn: len(eqn.invars) == 3 and aval_of(eqn.invars[0]).dtype.kind == "b",
}
"""What else an equation must meet for its rule to hold."""
