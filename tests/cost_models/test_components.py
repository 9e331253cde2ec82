from dataclasses import replace

import pytest

from cost_models import DriveSpec, EngineSpec, HardwareError, LinkSpec
from tests.cost_models.systems import DRIVE, ENGINE, FLASH, GPU, HOST


def test_flash_geometry_and_rates():
    assert FLASH.num_pages == 8 * 4 * 2 * 64 * 128
    assert FLASH.capacity_bytes == FLASH.num_pages * 4096
    # 8 dies-times-planes x 4096 B / 50 us = 655 MB/s covers the 409.6 MB/s of a channel
    assert FLASH.internal_bytes_per_s == pytest.approx(8 * 0.4096e9)
    # but 8 x 4096 B / 400 us = 81.92 MB/s does not
    assert FLASH.program_bytes_per_s == pytest.approx(8 * 81.92e6)


def test_slow_dies_limit_reads():
    slow = replace(FLASH, dies_per_channel=1)
    assert slow.internal_bytes_per_s == pytest.approx(8 * 2 * 4096 / 50e-6)


def test_peak_by_dtype_falls_back_on_float32():
    assert GPU.flops("float16") == 4e12
    assert GPU.flops("bfloat16") == 1e12


def test_missing_peak_is_an_error():
    with pytest.raises(HardwareError, match=r"no peak_flops for int8 or float32; it has float16"):
        replace(GPU, peak_flops={"float16": 1e12}).flops("int8")


def test_specs_are_hashable_and_frozen():
    assert hash(GPU) == hash(replace(GPU))
    with pytest.raises(AttributeError):
        GPU.memory_bytes = 0.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("spec", "field", "value", "message"),
    [
        (GPU, "memory_bytes_per_s", 0.0, r"memory_bytes_per_s = 0.0 is not accepted: .* above 0"),
        (GPU, "memory_bytes_per_s", float("nan"), "memory_bytes_per_s = nan"),
        (GPU, "memory_bytes_per_s", True, "memory_bytes_per_s = True"),
        (GPU, "memory_bytes", -1.0, "memory_bytes = -1.0 .* at least 0"),
        (GPU, "kind", "csd", '"gpu" or "host"'),
        (GPU, "name", "", "name = ''"),
        (GPU, "peak_flops", {}, "peak_flops = {}"),
        (GPU, "peak_flops", {"float32": float("inf")}, "peak_flops.float32 = inf"),
        (GPU, "memory_efficiency", 1.5, "memory_efficiency = 1.5 .* at most 1"),
        (GPU, "launch_s", -1e-6, "launch_s"),
        (GPU, "emulated", 1, "emulated = 1 .* true or false"),
        (FLASH, "channels", 0, "channels = 0 .* whole number of at least 1"),
        (FLASH, "channels", 2.5, "channels = 2.5"),
        (FLASH, "t_read_s", 0.0, "t_read_s"),
        (ENGINE, "flops", 0.0, "flops = 0.0"),
        (DRIVE, "engine", "fast", "an EngineSpec, or none"),
        (DRIVE, "flash", None, "a FlashSpec"),
        (LinkSpec(name="a", bytes_per_s=1.0, latency_s=0.0), "bytes_per_s", -1.0, "bytes_per_s"),
    ],
)
def test_rejected_values(spec, field, value, message):
    with pytest.raises(HardwareError, match=message):
        replace(spec, **{field: value})


def test_kinds_of_parts():
    assert HOST.kind == "host"
    assert isinstance(DRIVE, DriveSpec)
    assert isinstance(DRIVE.engine, EngineSpec)
