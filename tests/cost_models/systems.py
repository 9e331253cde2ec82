"""Small systems with round numbers, so that expected times can be worked out by hand."""

import pytest

from cost_models import Bound, ComputeSpec, Cost, DriveSpec, EngineSpec, FlashSpec, HardwareSpec, LinkSpec

GPU = ComputeSpec(
    name="test gpu",
    kind="gpu",
    memory_bytes=1e9,
    memory_bytes_per_s=100e9,
    peak_flops={"float32": 1e12, "float16": 4e12},
    launch_s=1e-5,
    memory_efficiency=0.5,
    compute_efficiency=0.25,
)
HOST = ComputeSpec(
    name="test host",
    kind="host",
    memory_bytes=4e9,
    memory_bytes_per_s=20e9,
    peak_flops={"float32": 1e11},
    launch_s=1e-6,
    memory_efficiency=1.0,
    compute_efficiency=1.0,
)
FLASH = FlashSpec(
    channels=8,
    dies_per_channel=4,
    planes_per_die=2,
    blocks_per_plane=64,
    pages_per_block=128,
    page_bytes=4096,
    channel_bytes_per_s=0.4096e9,  # 10 us a page
    t_read_s=50e-6,
    t_program_s=400e-6,
    t_erase_s=3e-3,
    rated_pe_cycles=3000,
)
ENGINE = EngineSpec(flops=100e9, bytes_per_s=10e9, setup_s=20e-6)
DRIVE = DriveSpec(flash=FLASH, engine=ENGINE, dram_bytes=1e8, dram_bytes_per_s=1e10, command_s=5e-6)
SSD = DriveSpec(flash=FLASH, engine=None, dram_bytes=1e8, dram_bytes_per_s=1e10, command_s=5e-6)


def is_cost(cost: Cost, seconds: float, bound: Bound) -> bool:
    """Tells whether a cost is as expected, seconds up to rounding."""
    return cost.seconds == pytest.approx(seconds) and cost.bound == bound


def system(num_drives: int = 2, p2p: bool = True, switched: bool = False) -> HardwareSpec:
    """One GPU at 16 GB/s and drives at 4 GB/s each, optionally below one switch of 6 GB/s."""
    drives = [f"csd{index}" for index in range(num_drives)]
    links = [LinkSpec(name="gpu0", bytes_per_s=16e9, latency_s=1e-6)]
    links += [LinkSpec(name=name, bytes_per_s=4e9, latency_s=2e-6) for name in drives]
    if switched:
        links.append(LinkSpec(name="switch0", bytes_per_s=6e9, latency_s=3e-6))
    above = ("switch0",) if switched else ()
    return HardwareSpec(
        name="test system",
        gpus=(GPU,),
        host=HOST,
        drives=(DRIVE,) * num_drives,
        links=tuple(links),
        ports={"gpu0": ("gpu0",), "host": (), **{name: (name, *above) for name in drives}},
        p2p=p2p,
        drives_per_switch=num_drives if switched else 0,
    )
