"""What a plan was made for, as flat keys and values: policy, workload and every number of the hardware."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from partitioner.sparsity import sparsity_text

if TYPE_CHECKING:
    from cost_models import HardwareSpec
    from partitioner.plan.plan import Plan

Setting = str | float | bool | None
"""A value; None where there is none, such as the rate of an engine that a drive does not have."""


def settings(plan: Plan) -> dict[str, Setting]:
    """Returns policy, workload and hardware under the keys of options and what-if changes: ``drives``, ``gpu.memory_bytes``."""
    load = plan.workload
    return {
        "policy": plan.policy,
        "objective": plan.objective.name,
        "batch": load.batch_size,
        "prompt-len": load.prompt_len,
        "decode-len": load.decode_len,
        "sparsity": sparsity_text(load.sparsity),
        **hardware_settings(plan.hw),
    }


def hardware_settings(hw: HardwareSpec) -> dict[str, Setting]:
    """Returns every value of a hardware description under its what-if key; several equal devices are one."""
    data = hw.to_dict()
    found: dict[str, Setting] = {
        "hardware": hw.name,
        "gpus": len(hw.gpus),
        "drives": len(hw.drives),
        "p2p": hw.p2p,
        "drives_per_switch": hw.drives_per_switch,
        "service_life_s": hw.service_life_s,
        "electricity_usd_per_j": hw.electricity_usd_per_j,
    }
    found |= _kind("gpu", "gpu", data["gpus"])
    found |= _flat("host", data["host"])
    found |= _kind("drive", "csd", data["drives"])
    for kind, group in groupby(data["links"], lambda link: link["name"].rstrip("0123456789")):
        links = [{key: value for key, value in link.items() if key != "name"} for link in group]
        found |= _kind(f"link.{'drive' if kind == 'csd' else kind}", f"link.{kind}", links)
    return found


def _kind(all_of_them: str, one: str, members: Sequence[Mapping[str, Any]]) -> dict[str, Setting]:
    """Returns the values of devices or links of a kind: once where all are equal, else with their numbers."""
    if all(member == members[0] for member in members):
        return _flat(all_of_them, members[0]) if members else {}
    return {
        key: value for i, member in enumerate(members) for key, value in _flat(f"{one}{i}", member).items()
    }


def _flat(prefix: str, data: Mapping[str, Any]) -> dict[str, Setting]:
    found: dict[str, Setting] = {}
    for name, value in data.items():
        key = f"{prefix}.{name}"
        found |= _flat(key, value) if isinstance(value, Mapping) else {key: value}
    return found
