"""Hardware descriptions and what things cost on them: work, rooflines, links and flash.

``HardwareSpec`` says what a system can do, ``Work`` what an operation demands, ``Cost`` how long it takes
and what limits it. This package knows no sibling package and imports no JAX.
"""

from cost_models.components import ComputeSpec, DriveSpec, EngineSpec, FlashSpec, LinkSpec
from cost_models.cost import BOUNDS, Bound, Cost, sequential, slowest
from cost_models.errors import CostModelError, HardwareError, WorkError
from cost_models.flash import (
    attend_cost,
    attend_pages,
    flash_read_cost,
    flash_write_cost,
    kv_append_cost,
    tokens_per_page,
)
from cost_models.hardware import HardwareSpec
from cost_models.links import (
    Direction,
    Hop,
    PathKind,
    parallel_transfer_cost,
    path_kinds,
    route,
    transfer_cost,
)
from cost_models.primitives import equation_flops, unknown_primitives, work_of
from cost_models.processor_attention import processor_attend_cost
from cost_models.roofline import compute_cost, launch_cost, ridge_point
from cost_models.work import Work

__all__ = [
    "BOUNDS",
    "Bound",
    "ComputeSpec",
    "Cost",
    "CostModelError",
    "Direction",
    "DriveSpec",
    "EngineSpec",
    "FlashSpec",
    "HardwareError",
    "HardwareSpec",
    "Hop",
    "LinkSpec",
    "PathKind",
    "Work",
    "WorkError",
    "attend_cost",
    "attend_pages",
    "compute_cost",
    "equation_flops",
    "flash_read_cost",
    "flash_write_cost",
    "kv_append_cost",
    "launch_cost",
    "parallel_transfer_cost",
    "path_kinds",
    "processor_attend_cost",
    "ridge_point",
    "route",
    "sequential",
    "slowest",
    "tokens_per_page",
    "transfer_cost",
    "unknown_primitives",
    "work_of",
]
