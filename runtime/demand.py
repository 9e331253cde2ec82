"""What a segment asks of a processor, counted from the shapes of its equations.

Emulated processors are throttled by this count. It is deliberately its own: prediction and emulation share the
hardware's parameters, never code, so that holding one against the other means something. The mechanism is that of a
processor that runs one matrix product after the other, each as fast as its arithmetic and its memory allow, with
everything element-wise done on the way; rows that are looked up or written in place move on their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cost_models.components import ComputeSpec
from partitioner.jaxpr import Eqn, Var, num_bytes, shape_of, variables

_PASS_THROUGH = frozenset(
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
_UPDATED_OPERAND = {
    "dynamic_update_slice": 1,
    "scatter": 2,
    "scatter-add": 2,
    "scatter_add": 2,
}
_LOOK_UPS = frozenset({"gather", "dynamic_slice", "take_along_axis"})


@dataclass(frozen=True)
class Contraction:
    """Describes one matrix product.

    Attributes:
        flops: Two per multiply and add.
        num_bytes: Operands as they are stored, and the result.
        dtype: Name of the dtype of its operands, which chooses the peak.
    """

    flops: float
    num_bytes: float
    dtype: str


@dataclass(frozen=True)
class Demand:
    """Holds what one execution of a segment demands.

    Attributes:
        contractions: Its matrix products, in order.
        moved_bytes: Bytes of the rows it looks up and of those it writes in place.
    """

    contractions: tuple[Contraction, ...]
    moved_bytes: float

    @property
    def flops(self) -> float:
        """Returns the floating-point operations of all products."""
        return sum(c.flops for c in self.contractions)

    @property
    def num_bytes(self) -> float:
        """Returns all bytes that pass the memory."""
        return self.moved_bytes + sum(c.num_bytes for c in self.contractions)

    def seconds(self, spec: ComputeSpec) -> float:
        """Returns how long a processor takes, the launch included."""
        memory = spec.memory_bytes_per_s * spec.memory_efficiency
        products = sum(
            max(c.flops / (spec.flops(c.dtype) * spec.compute_efficiency), c.num_bytes / memory)
            for c in self.contractions
        )
        return spec.launch_s + products + self.moved_bytes / memory


def count_demand(equations: Sequence[Eqn]) -> Demand:
    """Returns the demand of equations that run together."""
    contractions: list[Contraction] = []
    moved = 0.0
    for eqn, times, maker in _walk(equations, 1.0):
        name = eqn.primitive.name
        if name == "dot_general":
            contractions += [_product(eqn, maker)] * round(times)
        elif name == "conv_general_dilated":
            contractions += [_convolution(eqn, maker)] * round(times)
        elif name in _LOOK_UPS:
            moved += times * num_bytes(eqn.outvars[0])
        elif name in _UPDATED_OPERAND:
            moved += times * num_bytes(eqn.invars[_UPDATED_OPERAND[name]])
    return Demand(tuple(contractions), moved)


def _walk(equations: Sequence[Eqn], times: float) -> Iterator[tuple[Eqn, float, Mapping[Var, Eqn]]]:
    """Yields every equation with how often it runs, loops of known length included."""
    maker = {v: e for e in equations for v in e.outvars}
    for eqn in equations:
        yield eqn, times, maker
        repeats = float(eqn.params.get("length", 1)) if eqn.primitive.name == "scan" else 1.0
        for body in _bodies(eqn.params.values()):
            yield from _walk(body, times * repeats)


def _bodies(params: Iterable[Any]) -> Iterator[Sequence[Eqn]]:
    for param in params:
        if isinstance(param, tuple | list):
            yield from _bodies(param)
            continue
        inner = getattr(param, "jaxpr", param)
        equations = getattr(inner, "eqns", None)
        if equations is not None:
            yield equations


def _product(eqn: Eqn, maker: Mapping[Var, Eqn]) -> Contraction:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = shape_of(eqn.invars[0])
    depth = math.prod(left[axis] for axis in contracted)
    return _contraction(eqn, 2.0 * math.prod(shape_of(eqn.outvars[0])) * depth, maker)


def _convolution(eqn: Eqn, maker: Mapping[Var, Eqn]) -> Contraction:
    kernel = shape_of(eqn.invars[1])
    features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    flops = 2.0 * math.prod(shape_of(eqn.outvars[0])) * math.prod(kernel) / features
    return _contraction(eqn, flops, maker)


def _contraction(eqn: Eqn, flops: float, maker: Mapping[Var, Eqn]) -> Contraction:
    operands = variables(eqn.invars[:2])
    size = sum(_stored_bytes(v, maker) for v in operands) + num_bytes(eqn.outvars[0])
    aval: Any = eqn.invars[0].aval
    return Contraction(flops, float(size), aval.dtype.name)


def _stored_bytes(var: Var, maker: Mapping[Var, Eqn]) -> int:
    """Returns the bytes of what is in memory: views and conversions are done while an operand streams in."""
    size = num_bytes(var)
    while (eqn := maker.get(var)) is not None and eqn.primitive.name in _PASS_THROUGH:
        read = variables(eqn.invars)
        if len(read) != 1:
            break
        var = read[0]
        size = min(size, num_bytes(var))
    return size
