"""Infers which axis of q, k, v, cache and output is batch, head, token or head size, by probing with small arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from partitioner.frontend.trace import TracedPhase
from partitioner.ir.op import AxisRole, Layout
from partitioner.jaxpr import dtype_of, shape_of
from partitioner.passes.find_attention import CacheUse
from partitioner.passes.run_region import RegionRunner, contraction_operand


class LayoutError(Exception):
    """Says why the axes of a region cannot be told apart; the region is then left as it was."""


@dataclass(frozen=True)
class RegionLayout:
    """Gives the axes of a region's operands and result, and the head counts."""

    query: Layout
    new: Layout
    cache: Layout
    output: Layout
    num_heads: int
    num_kv_heads: int
    head_size: int


def infer_layout(runner: RegionRunner) -> RegionLayout:
    """Returns the layout of a region.

    Args:
        runner: The region at small sizes; no other size of the cache may equal its batch or its length.

    Raises:
        LayoutError: If the axes cannot be told.
    """
    region, phase = runner.region, runner.phase
    shape = shape_of(region.key.before)
    for name, key, value in (
        ("caches", region.key.before, region.value.before),
        ("new keys and values", region.key.new, region.value.new),
    ):
        if shape_of(key) != shape_of(value):
            raise LayoutError(
                f"the {name} have shapes {shape_of(key)} and {shape_of(value)}; one layout for K and V is expected"
            )
    cache = _cache_layout(shape, phase)
    operand = _operand_axes(region.key)
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = region.key.contraction.params["dimension_numbers"]
    contract, batch = (lhs_contract, lhs_batch) if region.key.operand == 0 else (rhs_contract, rhs_batch)
    query_contract, query_batch = (
        (rhs_contract, rhs_batch) if region.key.operand == 0 else (lhs_contract, lhs_batch)
    )
    if len(contract) != 1 or not operand[contract[0]]:
        raise LayoutError("q.K^T does not contract exactly one cache axis")
    head_axis = operand[contract[0]]
    undetermined = [a for a in range(len(shape)) if not cache[a]]
    if len(head_axis) != 1 or head_axis[0] not in undetermined or len(undetermined) != 2:
        raise LayoutError(f"the cache has shape {shape}; batch, KV head, token and head size are expected")
    roles: list[tuple[AxisRole, ...]] = list(cache)
    roles[head_axis[0]] = ("head_size",)
    roles[next(a for a in undetermined if a != head_axis[0])] = ("kv_head",)
    final: Layout = tuple(roles)
    role_of: dict[int, AxisRole] = {a: final[a][0] for a in range(len(shape))}
    num_kv = shape[[r[0] for r in final].index("kv_head")]
    head_size = shape[head_axis[0]]
    query_shape = shape_of(region.query)
    num_heads = int(np.prod(query_shape)) // (phase.batch_size * head_size)
    group = num_heads // num_kv
    if num_heads * phase.batch_size * head_size != int(np.prod(query_shape)) or group * num_kv != num_heads:
        raise LayoutError(f"q has shape {query_shape}, which does not hold one token per row")
    query: list[tuple[AxisRole, ...]] = [()] * len(query_shape)
    query[query_contract[0]] = ("head_size",)
    operand_shape = shape_of(region.key.contraction.invars[region.key.operand])
    for q_axis, k_axis in zip(query_batch, batch, strict=True):
        query[q_axis] = _named(operand[k_axis], role_of, shape, operand_shape[k_axis])
    _place_group(query, query_shape, group, set(query_batch) | set(query_contract))
    output = _output_layout(region.value, _operand_axes(region.value), role_of, shape, group)
    new = _new_layout(runner, final)
    return RegionLayout(tuple(query), new, final, output, num_heads, num_kv, head_size)


def _cache_layout(shape: tuple[int, ...], phase: TracedPhase) -> Layout:
    if len(shape) != 4:
        raise LayoutError(
            f"the cache has {len(shape)} axes; one each for batch, KV head, token, head size are expected"
        )
    known: dict[int, tuple[AxisRole, ...]] = {phase.batch_size: ("batch",), phase.max_len: ("token",)}
    axes = tuple(known.get(size, ()) for size in shape)
    if axes.count(("batch",)) != 1 or axes.count(("token",)) != 1:
        raise LayoutError(f"cannot tell batch and token axes of a cache of shape {shape}")
    return axes


def _operand_axes(use: CacheUse) -> list[tuple[int, ...]]:
    """Returns for each axis of the contraction's operand the cache axes along which it varies."""
    shape = shape_of(use.after)
    operand = use.contraction.invars[use.operand]
    found: list[list[int]] = [[] for _ in shape_of(operand)]
    for axis in range(len(shape)):
        for j in _varying(contraction_operand(use, _iota(shape, axis))):
            found[j].append(axis)
    return [tuple(a) for a in found]


def _new_layout(runner: RegionRunner, cache: Layout) -> Layout:
    region = runner.region
    given = (region.query, region.key.new, region.value.new, region.key.before, region.value.before)
    new_shape, shape = shape_of(region.key.new), shape_of(region.key.before)
    token = [r[0] for r in cache].index("token")
    layout: list[tuple[AxisRole, ...]] = [()] * len(new_shape)
    for axis, size in enumerate(new_shape):
        if size == 1:
            continue
        arrays = [np.zeros(shape_of(v), dtype_of(v)) for v in given]
        arrays[1] = _iota(new_shape, axis) + 1
        written = runner(arrays, np.zeros(runner.phase.batch_size, np.int64))[1]
        varying = _varying(written.max(axis=token, keepdims=True))
        if len(varying) != 1:
            raise LayoutError(f"axis {axis} of the new keys is not one axis of the cache")
        layout[axis] = cache[varying[0]]
    covered = [r for axis in layout for r in axis]
    for role, size in zip((r[0] for r in cache), shape, strict=True):
        if role != "token" and size != 1 and role not in covered:
            raise LayoutError(f"the new keys do not cover the cache's {role} axis")
    return tuple(layout)


def _output_layout(
    use: CacheUse,
    operand: list[tuple[int, ...]],
    role_of: dict[int, AxisRole],
    shape: tuple[int, ...],
    group: int,
) -> Layout:
    (lhs_contract, rhs_contract), (lhs_batch, rhs_batch) = use.contraction.params["dimension_numbers"]
    value_side = ((lhs_contract, lhs_batch), (rhs_contract, rhs_batch))[use.operand]
    if [role_of[a] for c in value_side[0] for a in operand[c]] != ["token"]:
        raise LayoutError("p.V does not contract exactly the token axis")
    operand_shape = shape_of(use.contraction.invars[use.operand])
    layout: list[tuple[AxisRole, ...]] = [
        _named(operand[a], role_of, shape, operand_shape[a]) for a in value_side[1]
    ]
    fixed = set(range(len(layout)))
    for side in (0, 1):
        contract, batch = ((lhs_contract, lhs_batch), (rhs_contract, rhs_batch))[side]
        free = [
            a
            for a in range(len(shape_of(use.contraction.invars[side])))
            if a not in contract and a not in batch
        ]
        for axis in free:
            if side == use.operand:
                roles = _named(operand[axis], role_of, shape, operand_shape[axis]) if operand[axis] else ()
                fixed.add(len(layout))
                layout.append(roles)
            else:
                layout.append(())
    out_shape = shape_of(use.contraction.outvars[0])
    _place_group(layout, out_shape, group, fixed)
    return tuple(layout)


def _named(
    axes: tuple[int, ...], role_of: dict[int, AxisRole], shape: tuple[int, ...], size: int
) -> tuple[AxisRole, ...]:
    """Returns the roles of an operand axis; one longer than its cache axes repeats KV heads over the group."""
    roles: tuple[AxisRole, ...] = tuple(role_of[a] for a in axes)
    covered = int(np.prod([shape[a] for a in axes])) if axes else 1
    return (*roles, "group") if "kv_head" in roles and size > covered else roles


def _place_group(
    layout: list[tuple[AxisRole, ...]], shape: tuple[int, ...], group: int, fixed: set[int]
) -> None:
    if group == 1 or any("group" in axis for axis in layout):
        return
    for axis, size in enumerate(shape):
        if axis not in fixed and size == group:
            layout[axis] = ("group",)
            return
    raise LayoutError(
        f"no axis of size {group} holds the query heads of a group in an operand of shape {shape}"
    )


def _iota(shape: Sequence[int], axis: int) -> np.ndarray:
    ramp = np.arange(shape[axis], dtype=np.float32) / shape[axis]
    return np.broadcast_to(ramp.reshape([-1 if a == axis else 1 for a in range(len(shape))]), shape)


def _varying(value: np.ndarray) -> list[int]:
    first = [(slice(None),) * axis + (slice(1),) for axis in range(value.ndim)]
    return [a for a in range(value.ndim) if value.shape[a] > 1 and (value[first[a]] != value).any()]
