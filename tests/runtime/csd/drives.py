"""Small drives for the tests: every number is easy to reckon with by hand."""

import dataclasses
from typing import Any

import numpy as np

from cost_models.hardware import DriveSpec, EngineSpec, FlashSpec
from runtime.csd import Configure, Drive, FileBacking

FLASH = FlashSpec(
    channels=4,
    dies_per_channel=2,
    planes_per_die=1,
    blocks_per_plane=64,
    pages_per_block=8,
    page_bytes=64,
    channel_bytes_per_s=64e3,  # a page in 1 ms
    t_read_s=1e-3,
    t_program_s=10e-3,
    t_erase_s=100e-3,
    rated_pe_cycles=3000,
)
ENGINE = EngineSpec(flops=1e9, bytes_per_s=1e9, setup_s=0.0)
SPEC = DriveSpec(flash=FLASH, engine=ENGINE, dram_bytes=1e6, dram_bytes_per_s=1e12, command_s=0.0)


backing: FileBacking | None = None
"""Where the pages of new drives lie; the fixture ``each_backing`` sets it."""


def new_drive(drive_spec: DriveSpec = SPEC, name: str = "csd0") -> Drive:
    """Returns a drive whose pages lie where the running tests want them."""
    return Drive(drive_spec, name, backing)


def spec(**changes: Any) -> DriveSpec:
    """Returns the small drive with flash fields or drive fields changed."""
    flash_names = {field.name for field in dataclasses.fields(FlashSpec)}
    flash = dataclasses.replace(FLASH, **{key: changes.pop(key) for key in set(changes) & flash_names})
    return dataclasses.replace(SPEC, flash=flash, **changes)


def configured(drive_spec: DriveSpec = SPEC, **changes: Any) -> Drive:
    """Returns a drive with a small task: 2 layers, 2 KV heads of 4 float32, 4 tokens a page."""
    task: dict[str, Any] = {
        "num_layers": 2,
        "num_kv_heads": 2,
        "num_query_heads": 2,
        "head_size": 4,
        "dtype": np.dtype(np.float32),
        "batch_size": 3,
        "max_len": 40,
    }
    drive = new_drive(drive_spec)
    drive.execute(Configure(**{**task, **changes}), 0.0)
    return drive


def tokens(rng: np.random.Generator, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    """Returns random keys or values."""
    return rng.standard_normal(shape).astype(dtype)
