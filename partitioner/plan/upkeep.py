"""What a generation costs in joules and dollars, by the predicted time and the predicted use of each device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cost_models import energy_j, missing_power, missing_price, running_usd
from partitioner.plan.report.predicted_use import predicted_busy

if TYPE_CHECKING:
    from partitioner.plan.plan import Plan

_MILLION = 1e6


def joules_per_token(plan: Plan) -> float | None:
    """Returns the predicted energy per new token, prefill included; None where the hardware's powers are not known."""
    if missing_power(plan.hw) is not None:
        return None
    return energy_j(plan.hw, plan.total_seconds, _device_busy_s(plan)) / _num_tokens(plan)


def dollars_per_million_tokens(plan: Plan) -> float | None:
    """Returns the predicted US dollars per million new tokens, prefill included; None where a price or a power is not known."""
    if missing_price(plan.hw) is not None:
        return None
    return _MILLION * running_usd(plan.hw, plan.total_seconds, _device_busy_s(plan)) / _num_tokens(plan)


def _device_busy_s(plan: Plan) -> dict[str, float]:
    """Returns the seconds in use per device over the generation; GPUs of a host act as one, so all are as busy."""
    busy = predicted_busy(plan)
    found = {d: busy.get("gpu0" if d.startswith("gpu") else d, 0.0) for d in plan.hw.device_names}
    return {device: min(seconds, plan.total_seconds) for device, seconds in found.items()}


def _num_tokens(plan: Plan) -> int:
    return plan.workload.batch_size * plan.workload.decode_len
