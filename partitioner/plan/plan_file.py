"""Plan files: JSON that holds decisions, hardware, workload and a fingerprint of the traced jaxpr, never code."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from partitioner.errors import ModelError, PlanError
from partitioner.front import Traced, trace_model
from partitioner.frontend.adapt import adapt
from partitioner.ir.op import Op
from partitioner.placement.policies import POLICIES, Policy
from partitioner.plan.assemble import assemble_plan
from partitioner.plan.decisions import SPLIT, Decision, Decisions
from partitioner.plan.plan import Plan
from partitioner.plan.plan_data import (
    accuracy_from_dict,
    decisions_from_dict,
    decisions_to_dict,
    hardware_from_dict,
    table,
    text,
    workload_from_dict,
)
from partitioner.plan.verify_plan import verify_plan
from partitioner.split_grid import SplitGrid

FORMAT = "instinfer plan"
VERSION = 4
_FIELDS = (
    "format",
    "version",
    "model",
    "fingerprint",
    "policy",
    "workload",
    "hardware",
    "decisions",
    "predicted",
)


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """Returns a plan as JSON-able data; ``predicted`` is for readers, the rest is what a plan is rebuilt from."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": plan.model_name,
        "fingerprint": plan.fingerprint,
        "policy": plan.policy,
        "workload": plan.workload.to_dict(),
        "hardware": plan.hw.to_dict(),
        "decisions": decisions_to_dict(plan.decisions),
        **({} if plan.accuracy is None else {"accuracy": plan.accuracy.to_dict()}),
        "predicted": _predicted(plan),
    }


def save_plan(plan: Plan, path: str | Path) -> None:
    """Writes a plan file; it appears whole or not at all.

    Raises:
        OSError: If the file cannot be written; what was there before is still there.
    """
    content = json.dumps(plan_to_dict(plan), indent=2, allow_nan=False) + "\n"
    target = Path(path)
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load_plan(path: str | Path, model: Any) -> Plan:
    """Reads a plan file, traces the model again and rebuilds the plan.

    Raises:
        PlanError: If the file cannot be read or is malformed, or was made for another model.
    """
    try:
        return _plan(_read(Path(path)), model)
    except PlanError as error:
        raise PlanError(f"plan file {str(path)!r}: {error}") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise PlanError(f"cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise PlanError("is not text in UTF-8; plans are JSON, as Plan.save writes them") from None
    try:
        data = json.loads(content, parse_constant=_no_constant, object_pairs_hook=_without_duplicates)
    except (json.JSONDecodeError, RecursionError) as error:
        raise PlanError(f"is not well-formed JSON ({error}); write it again with Plan.save") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise PlanError(f"is not a plan: its field 'format' is not {FORMAT!r}")
    if data.get("version") != VERSION:
        raise PlanError(
            f"has version {data.get('version')!r} and this program reads version {VERSION}; plan the model again"
        )
    return table(data, "the plan", (*_FIELDS, *(["accuracy"] if "accuracy" in data else [])))


def _plan(data: dict[str, Any], model: Any) -> Plan:
    policy = text(data["policy"], "policy")
    if policy not in POLICIES:
        raise PlanError(f"unknown policy {policy!r}; known are {', '.join(POLICIES)}")
    fingerprint = text(data["fingerprint"], "fingerprint")
    name = text(data["model"], "model")
    hw, workload = hardware_from_dict(data["hardware"]), workload_from_dict(data["workload"])
    decisions = decisions_from_dict(data["decisions"])
    try:
        traced = trace_model(adapt(model), hw, workload, micro_batches=decisions.micro_batches)
    except ModelError as error:
        raise PlanError(f"the model given cannot be traced for it: {error}") from None
    if traced.fingerprint != fingerprint:
        raise PlanError(
            f"was made for another model or another version of it: it is for {name!r} (fingerprint {fingerprint}), and "
            f"{traced.function.name!r} traces to {traced.fingerprint}; plan this model again"
        )
    if workload.batch_size % decisions.micro_batches:
        raise PlanError(
            f"has {decisions.micro_batches} micro-batches, which do not divide the batch of {workload.batch_size}"
        )
    _check_ops(traced, decisions, POLICIES[policy].on(hw), bool(hw.drives))
    accuracy = accuracy_from_dict(data["accuracy"]) if "accuracy" in data else None
    plan = replace(assemble_plan(traced, hw, workload, policy, decisions), accuracy=accuracy)
    verify_plan(plan)
    return plan


def _check_ops(traced: Traced, decisions: Decisions, policy: Policy, hw_has_drives: bool) -> None:
    """Checks that decisions are there for exactly the ops traced, in the phases they occur in, and keep to the policy."""
    found: dict[str, Op] = {}
    phases: dict[str, list[str]] = {}
    for graph in traced.graphs:
        for op in graph.ops:
            found[op.name] = op
            phases.setdefault(op.name, []).append(graph.phase.name)
    for name, expected in phases.items():
        if name not in decisions.ops:
            raise PlanError(f"says nothing of the op {name!r}")
        decision = decisions.ops[name]
        decided = [phase for phase, _ in decision.tiers]
        if decided != expected:
            raise PlanError(
                f"places {name!r} in {' and '.join(decided)}; it occurs in {' and '.join(expected)}"
            )
        _check_policy(name, found[name].attention is not None, decision, policy)
        _check_split(name, found[name], decision, traced.graphs[-1].phase.batch_size, hw_has_drives)
    unknown = [name for name in decisions.ops if name not in phases]
    if unknown:
        raise PlanError(f"places an op {unknown[0]!r} that the model does not have")


def _check_policy(name: str, attention: bool, decision: Decision, policy: Policy) -> None:
    homes = policy.homes_of(decision.form) if attention else (*policy.weight_homes, "-")
    if decision.home == SPLIT:
        forbidden = [t for t, _ in decision.split if not policy.split or t not in policy.decode_attention]
        if forbidden or not attention:
            raise PlanError(f"splits {name!r}, which policy {policy.name!r} does not allow")
        if decision.newest and not policy.newest:
            raise PlanError(
                f"keeps the newest tokens of {name!r} in host memory, which policy {policy.name!r} does not allow"
            )
    elif attention and decision.form not in policy.cache_forms:
        raise PlanError(
            f"keeps the cache of {name!r} in the form {decision.form!r}; policy {policy.name!r} allows "
            f"{', '.join(policy.cache_forms)}"
        )
    elif decision.home not in homes:
        what = "cache" if attention else "weights"
        raise PlanError(
            f"keeps the {what} of {name!r} on {decision.home!r}; policy {policy.name!r} allows {', '.join(homes)}"
        )
    for phase, tier in decision.tiers:
        allowed = policy.compute
        if attention:
            allowed = policy.prefill_attention if phase == "prefill" else policy.decode_attention
        if tier != SPLIT and tier not in allowed:
            raise PlanError(
                f"runs {name!r} on {tier!r} in {phase}; policy {policy.name!r} allows {', '.join(allowed)} there"
            )
        if phase == "decode" and decision.form == "input" and tier != "gpu":
            raise PlanError(f"makes K and V of {name!r} again on {tier!r}; that is done on the GPU alone")
        if tier == "csd" and decision.home != "csd":
            raise PlanError(
                f"runs {name!r} on a drive and keeps its cache on {decision.home!r}; drives attend over their own"
            )


def _check_split(name: str, op: Op, decision: Decision, rows: int, has_drives: bool) -> None:
    """Checks that the units of a split are those of the attention's grid."""
    if decision.home != SPLIT or op.attention is None:
        return
    wanted = SplitGrid.of(rows, op.attention.num_kv_heads).num_units
    given = sum(units for _, units in decision.split)
    if given != wanted:
        raise PlanError(f"splits {name!r} in {given} units; it has {wanted}")
    if not has_drives and "csd" in dict(decision.split):
        raise PlanError(f"gives a share of {name!r} to drives, and the hardware has none")
    if decision.newest and op.attention.sparsity is not None:
        raise PlanError(
            f"keeps the newest tokens of {name!r} in host memory, and drives would choose among the others alone; keep them on "
            "the drive, or attend exactly"
        )


def _predicted(plan: Plan) -> dict[str, Any]:
    first = plan.workload.prompt_len + 1 if plan.prefill else 1
    return {
        "prefill_seconds": plan.prefill_seconds,
        "decode_step_seconds": {
            str(n): plan.decode_seconds(n)
            for n in (first, plan.middle_context, max(first, plan.workload.max_len - 1))
        },
        "total_seconds": plan.total_seconds,
        "tokens_per_second": plan.tokens_per_second,
        "dollars_per_million_tokens": plan.dollars_per_million_tokens,
        "joules_per_token": plan.joules_per_token,
        "endurance": None if plan.endurance is None else plan.endurance.to_dict(),
        "latency_s": plan.latency_s,
        "first_token_s": plan.first_token_s,
        "objective": plan.decisions.certificate.objective,
        "bound": plan.bound,
        "gap": plan.gap,
        "account": plan.decisions.certificate.account,
        "account_excess": plan.account_excess,
        "schedule_excess": plan.schedule_excess,
        "resident_bytes": plan.resident_bytes(),
        "busy_s_per_decode_step": plan.predicted_timeline("decode").busy_s(),
    }


def _no_constant(name: str) -> float:
    raise PlanError(f"holds {name}; every number of a plan is finite")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(k == key for k, _ in pairs) > 1)
        raise PlanError(f"has the field {twice!r} twice in one table")
    return found
