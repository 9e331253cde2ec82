"""Plans again for what is left of a system: the one place where the runtime asks for a plan."""

from __future__ import annotations

from typing import Any

from cost_models.hardware import HardwareSpec
from partitioner.errors import PartitionError
from partitioner.partition import partition
from partitioner.plan.plan import Plan
from partitioner.workload import Workload
from runtime.errors import SessionError


def replan(plan: Plan, model: Any, hw: HardwareSpec, workload: Workload) -> Plan:
    """Returns a plan for other hardware or another workload: under the same policy where that is possible, else the best.

    Raises:
        SessionError: Nothing fits.
    """
    reason: PartitionError | None = None
    for policy in dict.fromkeys((plan.policy, "auto")):
        try:
            return partition(model, hw, workload, policy, objective=plan.objective.name)
        except PartitionError as error:
            reason = error
    raise SessionError(f"nothing fits on what is left of {hw.name}: {reason}") from reason
