"""The errors of the partitioner.

::

    PartitionError(ValueError)
    ├── ModelError        the model cannot be traced in the documented form
    ├── WorkloadError     the workload is not one that can be planned
    ├── AccuracyError     an accuracy budget cannot be used: no measured losses, or others
    ├── PassError         a pass produced invalid IR (names the pass and prints the equation)
    ├── PlacementError    nothing fits, or the policy cannot be met
    └── PlanError         a plan file is malformed, or is a plan for something else
"""

from __future__ import annotations


class PartitionError(ValueError):
    """Is the root of everything this package raises on bad input."""


class ModelError(PartitionError):
    """Says that a model cannot be traced, and what form is accepted."""


class WorkloadError(PartitionError):
    """Says which field of a workload is out of range."""


class AccuracyError(PartitionError):
    """Says why an accuracy budget, or the measured losses that it needs, cannot be used."""


class PassError(PartitionError):
    """Says which pass broke which rule of the IR, with the equation."""


class PlacementError(PartitionError):
    """Says what does not fit where, in bytes, or which constraint of a policy cannot hold."""


class PlanError(PartitionError):
    """Says why a plan cannot be used: malformed, or made for another model, or inconsistent."""
