"""The software table: read, refused, changed, slowed down, and what its closed forms give."""

import dataclasses
from importlib.resources import files

import pytest

from cost_models import HardwareError, HardwareSpec, SoftwareSpec
from cost_models.hardware_file import parse

PAPER = (files("cost_models") / "presets" / "paper-a6000-csd.toml").read_text(encoding="utf-8")
SPEC = SoftwareSpec(
    storage_bytes_per_s=2.0,
    host_copy_bytes_per_s=10.0,
    swap_bytes_per_s=0.5,
    host_bytes_per_kv_byte=2.0,
    engine_flops=100.0,
    flash_read_efficiency=0.5,
    layer_s=0.25,
    tokens_per_cluster=2.0,
)


def test_a_stack_has_at_most_eight_parameters() -> None:
    """More could fit the published figures without saying anything."""
    assert len(dataclasses.fields(SoftwareSpec)) <= 8


@pytest.mark.parametrize("name", ["paper-a6000-csd", "paper-2xa6000-csd"])
def test_a_paper_preset_is_its_testbed_with_software(name: str) -> None:
    paper, plain = HardwareSpec.load(name), HardwareSpec.load(name.removeprefix("paper-"))
    assert paper.software is not None
    assert plain.software is None
    named = {"name": plain.name, "description": plain.description, "sources": plain.sources}
    assert dataclasses.replace(paper, software=None, **named) == plain
    for field in dataclasses.fields(SoftwareSpec):
        assert "R" in paper.source_of(f"software.{field.name}")


def test_both_testbeds_have_the_same_software() -> None:
    one, two = (HardwareSpec.load(f"paper-{n}xa6000-csd".replace("1x", "")) for n in (1, 2))
    assert one.software == two.software


def test_the_storage_path_and_the_link_come_one_after_the_other() -> None:
    assert SPEC.file_read_s(8.0, 0.0, 4.0) == 4.0
    assert SPEC.file_read_s(8.0, 16.0, 4.0) == 8.0


def test_what_was_swapped_out_comes_back_before_it_is_copied() -> None:
    assert SPEC.host_copy_s(20.0, swapped=False) == 2.0
    assert SPEC.host_copy_s(20.0, swapped=True) == 42.0


def test_a_drive_is_read_at_a_share_of_its_rate_and_programmed_as_before() -> None:
    drive = HardwareSpec.load("a6000-csd").drives[0]
    read = SPEC.drive(drive)
    assert read.flash.internal_bytes_per_s == 0.5 * drive.flash.internal_bytes_per_s
    assert read.flash.program_bytes_per_s == drive.flash.program_bytes_per_s


def test_a_slowed_system_has_slower_software() -> None:
    hw = dataclasses.replace(HardwareSpec.load("a6000-csd"), software=SPEC).slowed(4)
    assert hw.software is not None
    assert hw.software.file_read_s(8.0, 8.0, 1.0) == 4 * SPEC.file_read_s(8.0, 8.0, 4.0)
    assert hw.software.host_copy_s(20.0, swapped=True) == 4 * SPEC.host_copy_s(20.0, swapped=True)
    assert hw.software.engine_s(100.0) == 4 * SPEC.engine_s(100.0)
    assert (hw.software.layer_s, hw.software.tokens_per_cluster) == (1.0, 2.0)


def test_a_value_can_be_changed() -> None:
    hw = HardwareSpec.load("paper-a6000-csd").replace("software.layer_s", 1e-3)
    assert hw.software is not None
    assert hw.software.layer_s == 1e-3
    assert hw.source_of("software.layer_s") == "what-if value 0.001"
    with pytest.raises(
        HardwareError, match=r"software\.layers: 'layers' is unknown|no value at 'software\.layers'"
    ):
        hw.replace("software.layers", 1.0)
    with pytest.raises(HardwareError, match=r"has no value at 'software\.layer_s'; accepted are"):
        HardwareSpec.load("a6000-csd").replace("software.layer_s", 1.0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "\nlayer_s = ",
            "\nlayers_s = ",
            r"paper\.toml: missing key 'software\.layer_s'; did you mean 'layers_s'",
        ),
        (
            "\nlayer_s = { value = ",
            "\nlayer_s = { value = -",
            r"paper\.toml: software\.layer_s = -.* expected",
        ),
        ("\nengine_flops", "\nspeed = 1\nengine_flops", r"paper\.toml: unknown key 'software\.speed'"),
        (
            "\nflash_read_efficiency = { value = 0.",
            "\nflash_read_efficiency = { value = 1.",
            r"paper\.toml: software\.flash_read_efficiency = 1\..* expected",
        ),
    ],
)
def test_a_fault_in_the_table_is_named(old: str, new: str, message: str) -> None:
    assert old in PAPER
    with pytest.raises(HardwareError, match=message):
        parse(PAPER.replace(old, new, 1), "paper.toml")


def test_software_must_be_a_table_of_parameters() -> None:
    hw = HardwareSpec.load("a6000-csd")
    with pytest.raises(HardwareError, match="software = 'fast' is not accepted: expected a SoftwareSpec"):
        dataclasses.replace(hw, software="fast")  # type: ignore[arg-type]
    data = HardwareSpec.load("paper-a6000-csd").to_dict()
    del data["software"]["layer_s"]
    with pytest.raises(HardwareError, match="software lacks the field 'layer_s'"):
        HardwareSpec.from_dict(data)


def test_a_description_prints_its_software() -> None:
    text = dataclasses.replace(HardwareSpec.load("a6000-csd"), software=SPEC).describe()
    assert "software    files 2 B/s, host to GPU 10 B/s, swap 0.5 B/s" in text
    assert "250 ms a layer, engine 100 FLOP/s not hidden by reads" in text
