"""Parameters that are kept as one on a device, because one product reads them together."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import jax
from jax import numpy as jnp

from partitioner.frontend.traced import TracedInput
from partitioner.jaxpr import Eqn, Var, borders
from partitioner.plan.phase_plan import PhasePlan
from partitioner.plan.plan import Plan
from partitioner.plan.steps import Move, Segment
from runtime.pack_products import Products, find_products, pack_products


@dataclass(frozen=True)
class WeightPack:
    """Names parameters that lie concatenated.

    Attributes:
        members: Names, in order.
        axis: Along which they are concatenated.
    """

    members: tuple[str, ...]
    axis: int

    @property
    def name(self) -> str:
        """Returns what the whole is called."""
        return " + ".join(self.members)


def find_packs(plan: Plan, device: str) -> tuple[WeightPack, ...]:
    """Returns the parameters of a device that may be kept as one.

    They live there, are never streamed from there, and every phase that reads one of them reads all of them in products that
    share their input and run in one segment. A decode of one row gains nothing: next to plain jit on an H200 a packed step took
    0.4 to 1 % longer there, and 1 % less with 16 rows (``benchmarks.decode_step``, docs/gpu.md).
    """
    if plan.decode.rows == 1:
        return ()
    phases = [p for p in (plan.prefill, plan.decode) if p is not None]
    streamed = {n for p in phases for s in p.steps if isinstance(s, Move) for n in s.names}
    resident = {n for n, home in plan.homes.items() if device in (home, *plan.copies.get(n, ()))} - streamed
    found = [
        {_pack_of(phase, products): products for products in _products(phase, device, resident)}
        for phase in phases
    ]
    read = [
        {phase.graph.input_of[v].name for v in borders(phase.graph.phase.equations)
         if v in phase.graph.input_of}
        for phase in phases
    ]  # fmt: skip
    return tuple(
        pack
        for pack in dict.fromkeys(p for packs in found for p in packs)
        if all(
            pack in packs or names.isdisjoint(pack.members) for packs, names in zip(found, read, strict=True)
        )
    )


def packed_phase(phase: PhasePlan, packs: Mapping[str, Iterable[WeightPack]]) -> PhasePlan:
    """Returns a phase that computes the same from packed parameters.

    Args:
        phase: A phase of the plan that the packs were found for.
        packs: By device.
    """
    replaced: dict[int, tuple[Eqn, ...]] = {}
    whole: dict[str, Var] = {}
    for device, wanted in packs.items():
        names = {n for pack in wanted for n in pack.members}
        for products in _products(phase, device, names):
            var, equations = pack_products(products)
            first, *others = products.equations
            replaced[id(first)] = equations
            replaced.update((id(e), ()) for e in others)
            whole[_pack_of(phase, products).name] = var
    if not replaced:
        return phase
    traced = phase.graph.phase
    inputs = (*traced.inputs, *(TracedInput(name, "param", var) for name, var in whole.items()))
    equations = _with(traced.equations, replaced)
    graph = dataclasses.replace(
        phase.graph, phase=dataclasses.replace(traced, equations=equations, inputs=inputs)
    )
    return dataclasses.replace(
        phase, graph=graph, segments=tuple(_repacked(s, replaced) for s in phase.segments)
    )


def concatenate(weights: dict[str, jax.Array], packs: Iterable[WeightPack]) -> None:
    """Puts packs into the place of their members, one after the other, so that little is there twice at any time."""
    for pack in packs:
        if pack.name in weights:
            continue
        members = [weights.pop(name) for name in pack.members]
        weights[pack.name] = jax.block_until_ready(jnp.concatenate(members, axis=pack.axis))


def take_packs(
    weights: dict[str, jax.Array], packs: Iterable[WeightPack], placed: Mapping[str, jax.Array]
) -> frozenset[str]:
    """Takes the packs that are placed already, and returns the names of their members."""
    taken = [pack for pack in packs if pack.name in placed]
    weights.update((pack.name, placed[pack.name]) for pack in taken)
    return frozenset(name for pack in taken for name in pack.members)


def _products(phase: PhasePlan, device: str, names: Iterable[str]) -> list[Products]:
    """Returns the products with parameters of some names that can be one, each within a segment of a device."""
    wanted = set(names)
    described = phase.graph.input_of
    weights = {
        var: segment.index
        for segment in phase.segments
        if segment.device == device and segment.attention is None
        for var in segment.inputs
        if var in described and described[var].role == "param" and described[var].name in wanted
    }
    return find_products(phase.graph.phase.equations, weights)


def _pack_of(phase: PhasePlan, products: Products) -> WeightPack:
    return WeightPack(tuple(phase.graph.input_of[v].name for v in products.weights), products.axis)


def _repacked(segment: Segment, replaced: Mapping[int, tuple[Eqn, ...]]) -> Segment:
    if not any(id(e) in replaced for e in segment.equations):
        return segment
    equations = _with(segment.equations, replaced)
    known = dict.fromkeys(segment.inputs)
    read = borders(equations)
    kept = [v for v in known if v in set(read) or v in segment.outputs]
    return dataclasses.replace(
        segment, equations=equations, inputs=(*kept, *(v for v in read if v not in known))
    )


def _with(equations: Sequence[Eqn], replaced: Mapping[int, tuple[Eqn, ...]]) -> tuple[Eqn, ...]:
    return tuple(new for e in equations for new in replaced.get(id(e), (e,)))
