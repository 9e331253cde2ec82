"""Compiles segments: one executable per class, ahead of the first run."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from partitioner.jaxpr import Var, evaluate, signature
from partitioner.plan.steps import Segment
from runtime.jax_device import JaxDevice, first_of, sharding_on
from runtime.program import describe_aval
from runtime.sampling import sample
from runtime.sampling_settings import GREEDY, RowSettings

Executable = Callable[..., Any]

_KEPT = 256
"""Executables remembered for later sessions; those used longest ago go first."""

_COMPILED: OrderedDict[Any, Executable] = OrderedDict()
_LOCK = threading.Lock()


def compile_segment(segment: Segment, device: JaxDevice, axes: Mapping[Var, int]) -> Executable:
    """Returns a function of a segment's inputs that gives its outputs, compiled for a device.

    States that an output replaces are donated, so that a cache is updated in place. Segments of any plan that
    compute the same function share what was compiled once.

    Args:
        segment: The segment.
        device: The device.
        axes: Of inputs and outputs that are cut over the devices of a mesh.
    """
    donated = tuple(segment.inputs.index(v) for v in segment.donated)
    cuts = tuple(axes.get(v) for v in (*segment.inputs, *segment.outputs))
    key = (device, donated, cuts, signature(segment.equations, segment.inputs, segment.outputs))

    def run(*inputs: Any) -> list[Any]:
        env = evaluate(segment.equations, dict(zip(segment.inputs, inputs, strict=True)))
        return [env[v] for v in segment.outputs]

    shapes = [shape_on(v, device, axes.get(v)) for v in segment.inputs]
    made = [sharding_on(device, axes.get(v)) for v in segment.outputs]
    return remembered(key, lambda: compile_for(device, run, shapes, donated, made))


def shape_on(var: Var, device: JaxDevice, axis: int | None = None) -> jax.ShapeDtypeStruct:
    """Returns the abstract array of a variable on a device, or cut along an axis over those of a mesh."""
    shape, dtype = describe_aval(var)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding_on(device, axis))


def row_of(num_rows: int, dtype: Any, device: JaxDevice) -> jax.ShapeDtypeStruct:
    """Returns an abstract array on a device with one number for each row."""
    return jax.ShapeDtypeStruct((num_rows,), dtype, sharding=sharding_on(device))


def settings_on(num_rows: int, device: JaxDevice) -> RowSettings:
    """Returns the settings of rows as abstract arrays on a device."""
    return jax.tree.map(lambda a: row_of(num_rows, a.dtype, device), RowSettings.of([GREEDY], [0]))


def compile_sample(device: JaxDevice, shape: tuple[int, ...], dtype: Any) -> Executable:
    """Returns :func:`runtime.sampling.sample`, compiled for logits of a shape and dtype; sessions share it."""
    logits = jax.ShapeDtypeStruct(shape, dtype, sharding=sharding_on(device))
    row = row_of(shape[0], np.int32, device)
    shapes = [logits, row, row, settings_on(shape[0], device)]
    return remembered(("sample", device, shape, str(dtype)), lambda: compile_for(device, sample, shapes, ()))


def compile_for(
    device: JaxDevice,
    function: Callable[..., Any],
    shapes: Sequence[Any],
    donated: tuple[int, ...],
    made: Any = None,
) -> Callable[..., Any]:
    """Returns a function compiled ahead of time for abstract arguments that live on a device.

    Args:
        device: The device. On a mesh, XLA's partitioner decides what each device computes, and what they exchange.
        function: The function.
        shapes: Abstract arguments.
        donated: Which of them may be overwritten.
        made: On a mesh, shardings of the results, or of groups of them; None: all lie whole on every device.
    """
    with jax.default_device(first_of(device)):
        if not isinstance(device, Mesh):
            return jax.jit(function, donate_argnums=donated).lower(*shapes).compile()
        shardings = sharding_on(device) if made is None else made
        return jax.jit(function, donate_argnums=donated, out_shardings=shardings).lower(*shapes).compile()


def remembered(key: Any, compile_it: Callable[[], Executable]) -> Executable:
    """Returns what was compiled for a key, now or by another session; what it is made of must hold no session's values."""
    with _LOCK:
        if key in _COMPILED:
            _COMPILED.move_to_end(key)
            return _COMPILED[key]
    compiled = compile_it()
    with _LOCK:
        _COMPILED[key] = compiled
        if len(_COMPILED) > _KEPT:
            _COMPILED.popitem(last=False)
    return compiled
