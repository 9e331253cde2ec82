"""A plan's decisions as plain data, and back, every field checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

from cost_models import CostModelError, HardwareSpec
from partitioner.accuracy.choose_sparsity import AccuracyChoice
from partitioner.errors import AccuracyError, PlanError, WorkloadError
from partitioner.objective import OBJECTIVES
from partitioner.plan.decisions import SPLIT, CacheForm, Certificate, Decision, Decisions
from partitioner.split_grid import Split
from partitioner.tier_links import TIERS
from partitioner.workload import Workload

PHASES = ("prefill", "decode")


def decisions_to_dict(decisions: Decisions) -> dict[str, Any]:
    """Returns decisions in the form that :func:`decisions_from_dict` reads."""
    found = decisions.certificate
    return {
        "ops": {name: _decision_to_dict(d) for name, d in decisions.ops.items()},
        "micro_batches": decisions.micro_batches,
        "reserved_bytes": dict(decisions.reserved_bytes),
        "certificate": {
            "minimised": found.minimised,
            "unit": OBJECTIVES[found.minimised].unit,
            "objective": found.objective,
            "bound": found.bound,
            "account": found.account,
            "solver": found.solver,
        },
    }


def decisions_from_dict(data: Mapping[str, Any]) -> Decisions:
    """Builds decisions.

    Raises:
        PlanError: If a field is missing, unknown or not accepted; the message names it.
    """
    fields = table(data, "decisions", ("ops", "micro_batches", "reserved_bytes", "certificate"))
    certificate = _certificate(fields["certificate"])
    reserved = table(fields["reserved_bytes"], "reserved_bytes", TIERS)
    if not isinstance(fields["ops"], dict) or not fields["ops"]:
        raise PlanError("decisions.ops must be a table of at least one op")
    return Decisions(
        ops={name: _decision(name, op) for name, op in fields["ops"].items()},
        reserved_bytes={tier: _not_negative(reserved[tier], f"reserved_bytes.{tier}") for tier in TIERS},
        certificate=certificate,
        micro_batches=_whole(fields["micro_batches"], "micro_batches"),
    )


def _certificate(data: Any) -> Certificate:
    proof = table(data, "certificate", ("minimised", "unit", "objective", "bound", "account", "solver"))
    minimised = text(proof["minimised"], "certificate.minimised")
    if minimised not in OBJECTIVES:
        raise PlanError(f"certificate.minimised must be one of {', '.join(OBJECTIVES)}, got {minimised!r}")
    if proof["unit"] != OBJECTIVES[minimised].unit:
        raise PlanError(
            f"certificate.unit must be {OBJECTIVES[minimised].unit!r} for {minimised!r}, got {proof['unit']!r}"
        )
    return Certificate(
        _not_negative(proof["objective"], "certificate.objective"),
        _not_negative(proof["bound"], "certificate.bound"),
        _not_negative(proof["account"], "certificate.account"),
        text(proof["solver"], "certificate.solver"),
        minimised,
    )


def hardware_from_dict(data: Any) -> HardwareSpec:
    """Builds the hardware a plan was made for.

    Raises:
        PlanError: If it is no hardware description; the message names the field.
    """
    try:
        return HardwareSpec.from_dict(data)
    except CostModelError as error:
        raise PlanError(f"hardware: {error}") from None


def workload_from_dict(data: Any) -> Workload:
    """Builds the workload a plan was made for.

    Raises:
        PlanError: If it is no workload; the message names the field.
    """
    fields = table(data, "workload", ("batch_size", "prompt_len", "decode_len", "sparsity"))
    try:
        return Workload.from_dict(fields)
    except WorkloadError as error:
        raise PlanError(f"workload: {error}") from None


def accuracy_from_dict(data: Any) -> AccuracyChoice:
    """Builds what an accuracy budget chose.

    Raises:
        PlanError: If it is no such choice.
    """
    try:
        return AccuracyChoice.from_dict(data)
    except (AccuracyError, WorkloadError) as error:
        raise PlanError(f"accuracy: {error}") from None


def table(data: Any, where: str, names: tuple[str, ...]) -> dict[str, Any]:
    """Returns a table that has exactly the fields named.

    Raises:
        PlanError: If it has not.
    """
    if not isinstance(data, dict):
        raise PlanError(f"{where} must be a table, got {type(data).__name__}")
    missing = [n for n in names if n not in data]
    if missing:
        raise PlanError(f"{where} lacks the field {missing[0]!r}")
    unknown = [n for n in data if n not in names]
    if unknown:
        raise PlanError(f"{where} has an unknown field {unknown[0]!r}; accepted are {', '.join(names)}")
    return data


def text(value: Any, where: str) -> str:
    """Returns a text.

    Raises:
        PlanError: If it is none.
    """
    if not isinstance(value, str):
        raise PlanError(f"{where} must be a text, got {value!r}")
    return value


def _decision(name: str, data: Any) -> Decision:
    where = f"ops[{name!r}]"
    phases = tuple(p for p in PHASES if isinstance(data, dict) and p in data)
    if not phases:
        raise PlanError(f"{where} must name a tier for prefill, decode or both, got {data!r}")
    shared = SPLIT in (data.get("decode"), data.get("home"))
    optional = (("split", shared), ("form", "form" in data), ("newest", "newest" in data))
    given = [name for name, there in optional if there]
    fields = table(data, where, (*phases, "home", *given))
    tiers = {"prefill": TIERS, "decode": (*TIERS, SPLIT), "home": (*TIERS, "-", SPLIT)}
    for field in (*phases, "home"):
        if fields[field] not in tiers[field]:
            raise PlanError(
                f"{where}.{field} must be one of {', '.join(tiers[field])}, got {fields[field]!r}"
            )
    split = _split(fields["split"], where) if shared else ()
    if shared and fields.get("decode") != fields["home"]:
        raise PlanError(
            f"{where} is split in decode or at home and not in both; a share attends where it lives"
        )
    form = fields.get("form", "kv")
    if form not in get_args(CacheForm) or (form == "input" and (shared or fields["home"] == "-")):
        raise PlanError(
            f"{where}.form must be one of {', '.join(get_args(CacheForm))}, and input only for a cache in one place, "
            f"got {form!r}"
        )
    newest = _whole(fields["newest"], f"{where}.newest") if "newest" in fields else 0
    if newest and (not dict(split).get("csd") or dict(split).get("host")):
        raise PlanError(
            f"{where}.newest keeps tokens of what drives hold in host memory; give it with a split that has a csd share and "
            "no host share"
        )
    return Decision(tuple((p, fields[p]) for p in phases), fields["home"], split, form, newest)


def _split(data: Any, where: str) -> Split:
    if not isinstance(data, dict) or not data or any(tier not in TIERS for tier in data):
        raise PlanError(f"{where}.split must be a table of units by tier ({', '.join(TIERS)}), got {data!r}")
    return tuple((tier, _whole(data[tier], f"{where}.split.{tier}")) for tier in TIERS if tier in data)


def _decision_to_dict(decision: Decision) -> dict[str, Any]:
    data: dict[str, Any] = {**dict(decision.tiers), "home": decision.home}
    if decision.split:
        data["split"] = dict(decision.split)
    if decision.newest:
        data["newest"] = decision.newest
    if decision.form != "kv":
        data["form"] = decision.form
    return data


def _whole(value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise PlanError(f"{where} must be a whole number of at least 1, got {value!r}")
    return value


def _not_negative(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise PlanError(f"{where} must be a finite number of at least 0, got {value!r}")
    return float(value)
