"""Hardware descriptions and what things cost on them: work, rooflines, links and flash.

``HardwareSpec`` says what a system can do, ``Work`` what an operation demands, ``Cost`` how long it takes
and what limits it. This package knows no sibling package and imports no JAX.
"""

from cost_models.collectives import collective_cost
from cost_models.components import ComputeSpec, DriveSpec, EngineSpec, FlashSpec, LinkSpec
from cost_models.cost import BOUNDS, Bound, Cost, sequential, slowest
from cost_models.emulation import EmulationSpec
from cost_models.endurance import RELAXED_RETENTION, drive_writes_per_day, life_years, lifetime_bytes
from cost_models.energy import energy_j, idle_power_w, missing_power, working_power_w
from cost_models.errors import CostModelError, HardwareError, WorkError
from cost_models.faults import FaultSpec
from cost_models.flash import (
    attend_cost,
    attend_flops,
    attend_pages,
    flash_read_cost,
    flash_write_cost,
    kv_append_cost,
    oldest_token,
    tokens_per_page,
)
from cost_models.fused_outputs import fused_outputs
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
from cost_models.money import (
    energy_usd,
    missing_price,
    owning_usd_per_s,
    running_usd,
    system_price_usd,
)
from cost_models.primitive_table import is_elementwise
from cost_models.primitives import equation_flops, unknown_primitives, work_of
from cost_models.processor_attention import processor_attend_cost
from cost_models.roofline import compute_cost, launch_cost, ridge_point
from cost_models.software import SoftwareSpec
from cost_models.sparse_attend import (
    CHANNEL_GROUPS,
    TOKENS_PER_CLUSTER,
    SparsePages,
    SparseReads,
    channel_page_tokens,
    channel_pages,
    sparse_attend_cost,
    sparse_attend_flops,
    sparse_pages,
)
from cost_models.work import Work

__all__ = [
    "BOUNDS",
    "CHANNEL_GROUPS",
    "RELAXED_RETENTION",
    "TOKENS_PER_CLUSTER",
    "Bound",
    "ComputeSpec",
    "Cost",
    "CostModelError",
    "Direction",
    "DriveSpec",
    "EmulationSpec",
    "EngineSpec",
    "FaultSpec",
    "FlashSpec",
    "HardwareError",
    "HardwareSpec",
    "Hop",
    "LinkSpec",
    "PathKind",
    "SoftwareSpec",
    "SparsePages",
    "SparseReads",
    "Work",
    "WorkError",
    "attend_cost",
    "attend_flops",
    "attend_pages",
    "channel_page_tokens",
    "channel_pages",
    "collective_cost",
    "compute_cost",
    "drive_writes_per_day",
    "energy_j",
    "energy_usd",
    "equation_flops",
    "flash_read_cost",
    "flash_write_cost",
    "fused_outputs",
    "idle_power_w",
    "is_elementwise",
    "kv_append_cost",
    "launch_cost",
    "life_years",
    "lifetime_bytes",
    "missing_power",
    "missing_price",
    "oldest_token",
    "owning_usd_per_s",
    "parallel_transfer_cost",
    "path_kinds",
    "processor_attend_cost",
    "ridge_point",
    "route",
    "running_usd",
    "sequential",
    "slowest",
    "sparse_attend_cost",
    "sparse_attend_flops",
    "sparse_pages",
    "system_price_usd",
    "tokens_per_page",
    "transfer_cost",
    "unknown_primitives",
    "work_of",
    "working_power_w",
]
