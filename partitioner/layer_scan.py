"""Tells a scan over layers that keep a cache from other scans, and what its operands are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from partitioner.jaxpr import Atom, Eqn, Var, called_jaxpr, opened, shape_of

Origin = Literal["cache", "param"]
"""What an array is: a state of floating-point numbers, or a parameter, whole, in part or seen through views."""

_HAND_ON = frozenset(
    {
        "broadcast_in_dim",
        "convert_element_type",
        "dynamic_slice",
        "dynamic_update_slice",
        "expand_dims",
        "reshape",
        "scatter",
        "slice",
        "squeeze",
        "transpose",
    }
)
"""What makes a part, a view or an update of its first operand."""


@dataclass(frozen=True, eq=False)
class LayerScan:
    """Holds a scan, with its operands by what they are.

    Attributes:
        body: The jaxpr of one iteration, without the arrays it closes over.
        closed_over: Those arrays.
        length: Iterations.
        reverse: Whether the last comes first.
        consts: The same for all iterations.
        carry: Handed from one to the next.
        stacked: One element for each, along the first axis.
    """

    body: Any
    closed_over: Sequence[Any]
    length: int
    reverse: bool
    consts: tuple[Atom, ...]
    carry: tuple[Atom, ...]
    stacked: tuple[Atom, ...]

    @property
    def order(self) -> Sequence[int]:
        """Returns the elements in the order in which they are taken."""
        return range(self.length)[::-1] if self.reverse else range(self.length)


def origin_of(eqn: Eqn, operands: Sequence[Atom], origins: Mapping[Var, Origin]) -> Origin | None:
    """Returns what the result of an equation is, given what its operands are."""
    if eqn.primitive.name not in _HAND_ON or len(eqn.outvars) != 1:
        return None
    first = operands[0]
    return origins.get(first) if isinstance(first, Var) else None


def as_layer_scan(eqn: Eqn, operands: Sequence[Atom], origins: Mapping[Var, Origin]) -> LayerScan | None:
    """Returns the scan that an equation is if its iterations are layers; None for any other equation.

    They are where a cache is scanned and given back as the scan goes, or carried along while parameters are scanned, or taken
    an element at a time of as many as there are iterations. A scan over the tokens of a step, whose parameters are the same
    for every iteration, is not over layers, even where a parameter is as long as the step.

    Args:
        eqn: Any equation.
        operands: What it reads, once calls are inlined.
        origins: What arrays are.
    """
    if eqn.primitive.name != "scan":
        return None
    scan = _opened(eqn, operands)
    if any(_is(a, "cache", origins) for a in scan.stacked):
        return scan
    if not any(_is(a, "cache", origins) for a in scan.carry):
        return None
    whole = zip(scan.consts, scan.body.invars, strict=False)
    sliced = [a for a, v in whole if shape_of(a)[:1] == (scan.length,) and _takes_element(scan.body, v)]
    return scan if any(_is(a, "param", origins) for a in (*scan.stacked, *sliced)) else None


def _takes_element(body: Any, var: Var) -> bool:
    """Tells whether a body takes one element of an array along its first axis, as layers do of their parameters."""
    for eqn in body.eqns:
        places = [n for n, a in enumerate(eqn.invars) if a is var]
        called = called_jaxpr(eqn) if places else None
        if called is not None:
            found = any(_takes_element(called[0], called[0].invars[n]) for n in places)
        elif places and eqn.primitive.name == "convert_element_type":
            found = _takes_element(body, eqn.outvars[0])
        else:
            found = places == [0] and _is_element(eqn)
        if found:
            return True
    return False


def _is_element(eqn: Eqn) -> bool:
    """Tells a slice of one element, or a gather at a single place: rows of a table are gathered at many."""
    if eqn.primitive.name == "gather" and len(shape_of(eqn.invars[1])) != 1:
        return False
    return eqn.primitive.name in ("dynamic_slice", "gather") and eqn.params["slice_sizes"][0] == 1


def _opened(eqn: Eqn, operands: Sequence[Atom]) -> LayerScan:
    """Returns a scan's parts, told by the shapes of its body: one JAX names its parameters otherwise than the next."""
    body, closed_over = opened(eqn.params["jaxpr"])
    num_stacked = _differing(eqn.invars, body.invars)
    num_carry = len(eqn.outvars) - _differing(eqn.outvars, body.outvars)
    num_consts = len(operands) - num_stacked - num_carry
    return LayerScan(
        body=body,
        closed_over=closed_over,
        length=int(eqn.params["length"]),
        reverse=bool(eqn.params["reverse"]),
        consts=tuple(operands[:num_consts]),
        carry=tuple(operands[num_consts : num_consts + num_carry]),
        stacked=tuple(operands[num_consts + num_carry :]),
    )


def _differing(outer: Sequence[Atom], inner: Sequence[Atom]) -> int:
    return sum(shape_of(a) != shape_of(b) for a, b in zip(outer, inner, strict=True))


def _is(atom: Atom, origin: Origin, origins: Mapping[Var, Origin]) -> bool:
    return isinstance(atom, Var) and origins.get(atom) == origin
