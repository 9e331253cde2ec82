"""Partitions Flax transformers over GPU, host and computational storage drives."""

from partitioner.errors import (
    AccuracyError,
    ModelError,
    PartitionError,
    PassError,
    PlacementError,
    PlanError,
    WorkloadError,
)
from partitioner.partition import partition
from partitioner.plan.plan import Plan
from partitioner.sparsity import SparF
from partitioner.workload import Workload

__all__ = [
    "AccuracyError",
    "ModelError",
    "PartitionError",
    "PassError",
    "PlacementError",
    "Plan",
    "PlanError",
    "SparF",
    "Workload",
    "WorkloadError",
    "partition",
]
