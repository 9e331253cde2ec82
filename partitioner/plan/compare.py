"""Compares two plans of one model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from partitioner.cut_costs import share_bytes
from partitioner.errors import PlanError
from partitioner.jaxpr import num_bytes
from partitioner.plan.names import class_name, folded
from partitioner.plan.plan_diff import ChangedSetting, MovedData, MovedOps, PlanDiff, Prediction
from partitioner.plan.report.shares import shares_text
from partitioner.plan.settings import settings

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan

Pair = tuple[Mapping[str, float], Mapping[str, float]]


def compare(before: Plan, after: Plan) -> PlanDiff:
    """Returns what differs between two plans.

    Raises:
        PlanError: If they are plans of models with different ops.
    """
    _check_models(before, after)
    phases = [p for p in ("decode", "prefill") if p == "decode" or (before.prefill and after.prefill)]
    return PlanDiff(
        (before.model_name, after.model_name),
        (before.middle_context, after.middle_context),
        _settings(before, after),
        _predictions(before, after),
        tuple(moved for phase in phases for moved in _ops(before, after, phase)),
        (*_caches(before, after), *_weights(before, after)),
    )


def _check_models(before: Plan, after: Plan) -> None:
    for plan, other in ((before, after), (after, before)):
        alone = [op.name for op in plan.ops("decode") if op.name not in other.decode.op]
        if alone:
            raise PlanError(
                f"plans of different models cannot be compared: {plan.model_name!r} has the op {alone[0]!r}, which "
                f"{other.model_name!r} lacks; plan one model twice"
            )


def _settings(before: Plan, after: Plan) -> tuple[ChangedSetting, ...]:
    ours, theirs = settings(before), settings(after)
    keys = dict.fromkeys([*ours, *theirs])
    pairs = ((key, ours.get(key), theirs.get(key)) for key in keys)
    return tuple(ChangedSetting(*pair) for pair in pairs if pair[1] != pair[2])


def _predictions(before: Plan, after: Plan) -> tuple[Prediction, ...]:
    ours, theirs = _figures(before), _figures(after)
    return tuple(Prediction(name, ours[name], theirs[name]) for name in ours)


def _figures(plan: Plan) -> dict[str, float | None]:
    return {
        "prefill_s": plan.prefill_seconds,
        "decode_step_s": plan.decode_seconds(plan.middle_context),
        "generation_s": plan.total_seconds,
        "tokens_per_s": plan.tokens_per_second,
        "joules_per_token": plan.joules_per_token,
        "usd_per_million_tokens": plan.dollars_per_million_tokens,
    }


def _ops(before: Plan, after: Plan, phase: str) -> list[MovedOps]:
    names = [op.name for op in before.ops(phase) if op.name in after.phase(phase).op]
    pairs = {n: (before.device_of(phase, n), after.device_of(phase, n)) for n in names}
    return [
        MovedOps(phase, name, tuple(members), *_mean([pairs[n] for n in members]))
        for name, members in _classes(pairs, names)
    ]


def _caches(before: Plan, after: Plan) -> list[MovedData]:
    names = [op.name for op in before.ops("decode") if op.name in before.caches and op.name in after.caches]
    pairs = {n: (_cache_bytes(before, n), _cache_bytes(after, n)) for n in names}
    return [
        MovedData("KV cache", name, tuple(members), *_total([pairs[n] for n in members]))
        for name, members in _classes(pairs, names)
    ]


def _weights(before: Plan, after: Plan) -> list[MovedData]:
    sizes = {i.name: num_bytes(i.var) for i in before.decode.graph.phase.inputs if i.role == "param"}
    names = [n for n in sizes if n in after.homes]
    pairs = {n: (_weight_bytes(before, n, sizes[n]), _weight_bytes(after, n, sizes[n])) for n in names}
    return [
        MovedData("weights", name, tuple(members), *_total([pairs[n] for n in members]))
        for name, members in _classes(pairs, names)
    ]


def _cache_bytes(plan: Plan, op: str) -> dict[str, float]:
    attention = plan.decode.op[op].attention
    assert attention is not None
    return {s.device: share_bytes(plan.costing, attention, s) for s in plan.caches[op]}


def _weight_bytes(plan: Plan, name: str, size: float) -> dict[str, float]:
    """Returns the bytes of a parameter by device; GPUs of a host share it evenly."""
    found: dict[str, float] = {}
    for device in (plan.homes[name], *plan.copies.get(name, ())):
        members = [d for d in plan.hw.device_names if d.startswith("gpu")] if device == "gpu0" else [device]
        found |= {member: size / len(members) for member in members}
    return found


def _classes(pairs: Mapping[str, Pair], names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Returns the names whose two sides differ, by class: alike but for layer numbers, and changed alike."""
    every = Counter(folded(name) for name in pairs)
    groups: dict[tuple[str, str, str], list[str]] = {}
    for name in names:
        before, after = (shares_text(side) for side in pairs[name])
        if before != after:
            groups.setdefault((folded(name), before, after), []).append(name)
    return [(class_name(members, every[key[0]]), members) for key, members in groups.items()]


def _mean(pairs: list[Pair]) -> Pair:
    before, after = _total(pairs)
    count = len(pairs)
    return {d: s / count for d, s in before.items()}, {d: s / count for d, s in after.items()}


def _total(pairs: list[Pair]) -> Pair:
    sides: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for pair in pairs:
        for side, amounts in zip(sides, pair, strict=True):
            for device, amount in amounts.items():
                side[device] = side.get(device, 0.0) + amount
    return sides
