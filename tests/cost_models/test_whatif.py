import pytest
from hypothesis import given
from hypothesis import strategies as st

from cost_models import HardwareError, HardwareSpec
from tests.cost_models.systems import system


def test_with_drives_copies_drive_and_link():
    hw = HardwareSpec.load("a6000-csd").with_drives(4)
    assert hw.device_names == ("gpu0", "host", "csd0", "csd1", "csd2", "csd3")
    assert hw.ports["csd3"] == ("csd3",)
    assert hw.link("csd3").bytes_per_s == hw.link("csd0").bytes_per_s
    assert hw.with_drives(1) == HardwareSpec.load("a6000-csd")


def test_with_drives_keeps_the_switches():
    hw = HardwareSpec.load("smartssd-16").with_drives(20)
    assert hw.ports["csd15"] == ("csd15", "switch0")
    assert hw.ports["csd16"] == ("csd16", "switch1")
    assert hw.with_drives(16) == HardwareSpec.load("smartssd-16")


def test_no_drives():
    hw = HardwareSpec.load("smartssd-16").with_drives(0)
    assert hw.device_names == ("gpu0", "host")
    assert [link.name for link in hw.links] == ["gpu0"]
    with pytest.raises(HardwareError, match="no drive to copy"):
        hw.with_drives(2)


def test_negative_drives():
    with pytest.raises(HardwareError, match=r"drives = -1 .* at least 0"):
        system().with_drives(-1)


def test_slowed_changes_every_rate_and_latency_and_no_capacity():
    hw, slow = system(), system().slowed(10)
    assert slow.gpus[0].memory_bytes_per_s == pytest.approx(hw.gpus[0].memory_bytes_per_s / 10)
    assert slow.gpus[0].flops("float16") == pytest.approx(hw.gpus[0].flops("float16") / 10)
    assert slow.gpus[0].launch_s == pytest.approx(hw.gpus[0].launch_s * 10)
    assert slow.gpus[0].memory_bytes == hw.gpus[0].memory_bytes
    assert slow.gpus[0].emulated
    assert slow.host.emulated
    fast_drive, drive = hw.drives[0], slow.drives[0]
    assert drive.flash.internal_bytes_per_s == pytest.approx(fast_drive.flash.internal_bytes_per_s / 10)
    assert drive.flash.program_bytes_per_s == pytest.approx(fast_drive.flash.program_bytes_per_s / 10)
    assert drive.flash.t_erase_s == pytest.approx(fast_drive.flash.t_erase_s * 10)
    assert drive.flash.num_pages == fast_drive.flash.num_pages
    assert drive.engine is not None
    assert fast_drive.engine is not None
    assert drive.engine.flops == pytest.approx(fast_drive.engine.flops / 10)
    assert drive.engine.setup_s == pytest.approx(fast_drive.engine.setup_s * 10)
    assert drive.dram_bytes_per_s == pytest.approx(fast_drive.dram_bytes_per_s / 10)
    assert drive.command_s == pytest.approx(fast_drive.command_s * 10)
    assert slow.link("gpu0").bytes_per_s == pytest.approx(1.6e9)
    assert slow.link("gpu0").latency_s == pytest.approx(1e-5)
    assert slow.notes == ("slowed down 10 times: rates divided, latencies multiplied, capacities unchanged",)


def test_slowed_by_one_is_the_same():
    assert system().slowed(1) == system()


@pytest.mark.parametrize("factor", [0, -2, float("nan")])
def test_slowed_by_nonsense(factor):
    with pytest.raises(HardwareError, match="factor"):
        system().slowed(factor)


@pytest.mark.parametrize(
    ("key", "value", "read"),
    [
        ("host.memory_bytes", 8e9, lambda hw: hw.host.memory_bytes),
        ("gpu.memory_bytes_per_s", 9e9, lambda hw: hw.gpus[0].memory_bytes_per_s),
        ("gpu0.peak_flops.float16", 9e9, lambda hw: hw.gpus[0].flops("float16")),
        ("gpu.peak_flops.int8", 9e9, lambda hw: hw.gpus[0].flops("int8")),
        ("drive.flash.channels", 16, lambda hw: hw.drives[1].flash.channels),
        ("drive.engine.flops", 5e9, lambda hw: hw.drives[1].engine.flops),
        ("link.drive.bytes_per_s", 5e9, lambda hw: hw.link("csd1").bytes_per_s),
        ("link.gpu.latency_s", 5e-3, lambda hw: hw.link("gpu0").latency_s),
        ("drives", 3, lambda hw: len(hw.drives)),
        ("gpus", 4, lambda hw: len(hw.gpus)),
        ("p2p", False, lambda hw: hw.p2p),
        ("gpu.emulated", True, lambda hw: hw.gpus[0].emulated),
    ],
)
def test_replace(key, value, read):
    assert read(system().replace(key, value)) == value


def test_replace_on_one_drive_leaves_the_other():
    hw = system().replace("csd1.flash.channels", 16.0)
    assert [drive.flash.channels for drive in hw.drives] == [8, 16]


def test_replace_notes_its_source():
    hw = HardwareSpec.load("a6000-csd")
    assert "datasheet" in hw.source_of("gpu0.memory_bytes")
    assert hw.replace("gpu0.memory_bytes", 24e9).source_of("gpu0.memory_bytes").startswith("what-if")
    both = hw.with_memory("gpu0", 24e9).replace("gpu.memory_bytes", 12e9)
    assert both.source_of("gpu0.memory_bytes") == "what-if value 12000000000.0"
    assert "PCIe 4.0 x4" in hw.source_of("link.csd0.bytes_per_s")


def test_with_memory():
    assert system().with_memory("host", 5e9).host.memory_bytes == 5e9
    with pytest.raises(HardwareError, match="csd0 is a drive"):
        system().with_memory("csd0", 5e9)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("gpu.memory", 1.0, "'memory' is unknown; did you mean 'memory_bytes'"),
        ("fpga.flops", 1.0, "no value at 'fpga.flops'; accepted are drives, p2p"),
        ("gpu", 1.0, "no value at 'gpu'"),
        ("gpu7.launch_s", 1.0, "no device 'gpu7'"),
        ("drive.flash", 1.0, "names a group of values"),
        ("drive.flash.channels", 0, "drive.flash.channels: channels = 0"),
        ("drive.flash.channels", 1.5, "channels = 1.5"),
        ("host.memory_bytes", "big", "host.memory_bytes = 'big' .* a number"),
        ("link.nvlink.bytes_per_s", 1.0, "no value at 'link.nvlink.bytes_per_s'"),
        ("drive.engine.cores.x", 1.0, "'cores' is unknown"),
    ],
)
def test_faulty_replacements(key, value, message):
    with pytest.raises(HardwareError, match=message):
        system().replace(key, value)


def test_replace_needs_the_device_it_names():
    with pytest.raises(HardwareError, match="no drive to change"):
        system(num_drives=0).replace("drive.command_s", 1.0)


def test_engine_of_a_plain_ssd_cannot_be_tuned():
    with pytest.raises(HardwareError, match="'flops' is unknown"):
        HardwareSpec.load("a6000-ssd").replace("drive.engine.flops", 1e9)


def test_unknown_source():
    with pytest.raises(
        HardwareError, match=r"no source for 'gpu.memory_byte'; did you mean 'gpu.memory_bytes'"
    ):
        HardwareSpec.load("a6000-csd").source_of("gpu.memory_byte")


def test_any_number_of_gpus_is_wired():
    hw = HardwareSpec.load("a6000-csd")
    four = hw.with_gpus(4)
    assert [four.ports[f"gpu{i}"] for i in range(4)] == [(f"gpu{i}",) for i in range(4)]
    assert four.device_names == ("gpu0", "gpu1", "gpu2", "gpu3", "host", "csd0")
    assert four.with_gpus(1) == hw
    with pytest.raises(HardwareError, match=r"gpus = 0 .* at least 1"):
        hw.with_gpus(0)


@given(count=st.integers(1, 40))
def test_any_number_of_drives_is_wired(count):
    hw = HardwareSpec.load("smartssd-16").with_drives(count)
    assert len(hw.drives) == count
    assert {hw.ports[f"csd{i}"][1] for i in range(count)} == {f"switch{i}" for i in range(-(-count // 16))}
