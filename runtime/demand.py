"""What a segment asks of a processor, counted from the shapes of its equations.

Emulated processors are throttled by this count. It is deliberately its own: prediction and emulation share the
hardware's parameters, never code, so that holding one against the other means something. The mechanism is that of a
processor that runs one matrix product after the other, each as fast as its arithmetic and its memory allow, together with the
element-wise work that makes its operands (:mod:`runtime.element_wise`); rows that are looked up or written in place move on
their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, cast

from cost_models.components import ComputeSpec
from partitioner.jaxpr import Eqn, Var, num_bytes, shape_of, variables
from runtime.element_wise import stages, stored_as

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
        num_bytes: Operands as they are stored, the result, and what is read and written to make the operands.
        dtype: Name of the dtype of its operands, which chooses the peak.
        is_matvec: Whether it multiplies one matrix with one vector.
        batched_bytes: Those of the bytes that are many matrices, multiplied with one vector each.
    """

    flops: float
    num_bytes: float
    dtype: str
    is_matvec: bool = False
    batched_bytes: float = 0.0


@dataclass(frozen=True)
class Demand:
    """Holds what one execution of a segment demands.

    Attributes:
        contractions: Its matrix products, in order.
        moved_bytes: Bytes of the rows it looks up, of those it writes in place, and of element-wise work for no product.
        num_passes: Look-ups, writes in place and stages of element-wise work that move bytes; each is a kernel, like a product.
    """

    contractions: tuple[Contraction, ...]
    moved_bytes: float
    num_passes: float = 0.0

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
            max(
                c.flops / (spec.flops(c.dtype) * spec.compute_efficiency),
                (c.num_bytes - c.batched_bytes) / memory + c.batched_bytes / spec.batched_matvec_bytes_per_s,
            )
            for c in self.contractions
        )
        kernels_s = spec.kernel_s * (len(self.contractions) + self.num_passes)
        kernels_s += spec.matvec_s * sum(c.is_matvec for c in self.contractions)
        return spec.launch_s + products + self.moved_bytes / memory + kernels_s


def count_demand(
    equations: Sequence[Eqn], outputs: Iterable[Var] = (), copies: Mapping[Var, int] = MappingProxyType({})
) -> Demand:
    """Returns the demand of equations that run together.

    Args:
        equations: In order.
        outputs: What is read when they are done.
        copies: How many devices read all of it, by parameter or cache; 1 for what is cut over them. A product with what is cut
            is cut itself, whatever else it reads; one with what every device has is done by every device.
    """
    contractions: list[Contraction] = []
    moved = num_passes = 0.0
    for block, results, times in _blocks(equations, tuple(outputs), 1.0):
        made, other, passes = _count(block, results, copies)
        contractions += made * round(times)
        moved += times * other
        num_passes += times * passes
    return Demand(tuple(contractions), moved, num_passes)


def _count(
    equations: Sequence[Eqn], outputs: Iterable[Var], copies: Mapping[Var, int]
) -> tuple[list[Contraction], float, int]:
    """Returns the matrix products of equations, the bytes moved besides and the passes, bodies of loops left aside."""
    maker = {v: e for e in equations for v in e.outvars}
    updated = [e for e in equations if copies and e.primitive.name in _UPDATED_OPERAND]
    copies = {**copies, **{e.outvars[0]: n for e in updated for v, n in copies.items() if e.invars[0] is v}}
    products: dict[int, Contraction] = {}
    moved: dict[int, float] = {}
    for position, eqn in enumerate(equations):
        name = eqn.primitive.name
        if name == "dot_general":
            products[position] = _product(eqn, maker)
        elif name == "conv_general_dilated":
            products[position] = _convolution(eqn, maker)
        elif name in _LOOK_UPS:
            moved[position] = num_bytes(eqn.outvars[0])
        elif name in _UPDATED_OPERAND:
            moved[position] = num_bytes(eqn.invars[_UPDATED_OPERAND[name]])
        elif any(_bodies(eqn.params.values())):
            moved[position] = 0.0
    found = stages(equations, products.keys() | moved.keys(), outputs)
    passes = dict(found.num_bytes)
    num_passes = sum(size > 0.0 for size in (*moved.values(), *passes.values()))
    for position, product in products.items():
        extra = passes.pop(found.of[position], 0.0)
        products[position] = replace(product, num_bytes=product.num_bytes + extra)
    for position, product in products.items() if copies else ():
        read = [stored_as(v, maker)[0] for v in variables(equations[position].invars[:2])]
        found_on = [copies[v] for v in read if v in copies]
        products[position] = _times(product, min(found_on, default=1))
    return list(products.values()), sum(moved.values()) + sum(passes.values()), num_passes


def _times(product: Contraction, count: int) -> Contraction:
    """Returns what several devices do that each compute all of a product."""
    amounts = product.flops * count, product.num_bytes * count, product.batched_bytes * count
    return replace(product, flops=amounts[0], num_bytes=amounts[1], batched_bytes=amounts[2])


def _blocks(
    equations: Sequence[Eqn], outputs: tuple[Var, ...], times: float
) -> Iterator[tuple[Sequence[Eqn], tuple[Var, ...], float]]:
    """Yields equations and the bodies of loops among them, with what they make and how often they run."""
    yield equations, outputs, times
    for eqn in equations:
        repeats = float(eqn.params.get("length", 1)) if eqn.primitive.name == "scan" else 1.0
        for body, results in _bodies(eqn.params.values()):
            yield from _blocks(body, results, times * repeats)


def _bodies(params: Iterable[Any]) -> Iterator[tuple[Sequence[Eqn], tuple[Var, ...]]]:
    for param in params:
        if isinstance(param, tuple | list):
            yield from _bodies(param)
            continue
        inner = getattr(param, "jaxpr", param)
        equations = getattr(inner, "eqns", None)
        if equations is not None:
            yield equations, tuple(variables(inner.outvars))


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
    operands = [stored_as(v, maker)[1] for v in variables(eqn.invars[:2])]
    made, aval = eqn.outvars[0], cast(Any, eqn.invars[0].aval)
    elements = [math.prod(shape_of(v)) for v in eqn.invars[:2]]
    once = flops == 2.0 * max(elements)
    is_matvec = once and math.prod(shape_of(made)) * min(elements) == max(elements)
    batched = float(max(operands, default=0)) if once and not is_matvec else 0.0
    return Contraction(flops, float(sum(operands) + num_bytes(made)), aval.dtype.name, is_matvec, batched)
