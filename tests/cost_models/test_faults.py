"""Faults in a hardware description: read, checked, carried through changes, shown."""

import dataclasses

import pytest

from cost_models import FaultSpec, HardwareError, HardwareSpec
from cost_models.hardware_file import parse
from tests.cost_models.systems import system
from tests.cost_models.test_hardware_file import changed

ALL = FaultSpec(
    seed=3,
    read_retries_mean=0.003,
    read_retries_max=5,
    uncorrectable_per_page_read=1e-9,
    program_failure_per_page=1e-6,
    worn_blocks=0.25,
    stop_after_commands=100,
)
TABLES = """
[drive.faults]
seed = { value = 3, source = "chosen for the test" }
read_retries_mean = { value = 0.003, source = "InstInfer, arXiv 2409.04992" }

[drive.faults.csd1]
stop_after_commands = { value = 100, source = "chosen for the test" }
seed = { value = 9, source = "chosen for the test" }

[drive.engine]"""


def faulty(tables: str = TABLES, drives: int = 2) -> HardwareSpec:
    """Returns a preset with tables of faults and several drives."""
    text = changed("[drive.engine]", tables.removeprefix("\n"))
    assert text.count("[drive]\ncount = 1\n") == 1
    return parse(text.replace("[drive]\ncount = 1\n", f"[drive]\ncount = {drives}\n"), "x.toml")


def test_a_drive_without_faults_has_none_and_an_empty_table_means_chances_of_zero():
    assert all(drive.faults is None for drive in HardwareSpec.load("a6000-csd").drives)
    assert faulty("[drive.faults]\n\n[drive.engine]").drives[0].faults == FaultSpec()
    assert FaultSpec().description == "none"


def test_a_table_holds_for_all_drives_and_one_inside_it_for_a_single_one():
    hw = faulty(drives=3)
    common = FaultSpec(seed=3, read_retries_mean=0.003)
    assert [drive.faults for drive in hw.drives] == [
        common,
        dataclasses.replace(common, seed=9, stop_after_commands=100),
        common,
    ]
    assert "InstInfer" in hw.source_of("drive.faults.read_retries_mean")
    assert HardwareSpec.from_dict(hw.to_dict()) == hw


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (TABLES.replace("csd1", "csd2"), r"x\.toml: unknown key 'drive\.faults\.csd2'; did you mean"),
        (TABLES.replace("stop_after", "stop_behind"), r"unknown key 'drive\.faults\.csd1\.stop_behind_commands'; did"),
        (TABLES.replace("value = 100", "value = 1.5"), r"csd1\.stop_after_commands = 1\.5 .* a whole number"),
        (TABLES.replace("value = 0.003", "value = 6"), r"drive\.faults\.read_retries_mean = 6\.0 .* from 0 to"),
        (TABLES.replace("value = 9", "value = -1"), r"drive\.faults\.csd1\.seed = -1 is not accepted"),
        (TABLES.replace('{ value = 9, source = "chosen for the test" }', "9"), r"csd1\.seed = 9 has no source"),
    ],
)  # fmt: skip
def test_tables_that_are_not_accepted(tables, message):
    with pytest.raises(HardwareError, match=message):
        faulty(tables)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": 1.5}, r"seed = 1\.5 is not accepted: expected a whole number"),
        ({"read_retries_max": -1}, r"read_retries_max = -1"),
        ({"read_retries_mean": 0.5, "read_retries_max": 0}, r"from 0 to read_retries_max, which is 0"),
        ({"read_retries_mean": float("nan")}, r"read_retries_mean = nan"),
        ({"read_retries_mean": "often"}, r"read_retries_mean = 'often'"),
        ({"uncorrectable_per_page_read": 1.1}, r"uncorrectable_per_page_read = 1\.1 .* from 0 to 1"),
        ({"program_failure_per_page": 1.0}, r"program_failure_per_page = 1 .* below 1: some pages must"),
        ({"worn_blocks": -0.1}, r"worn_blocks = -0\.1"),
        ({"stop_after_commands": 0.5}, r"stop_after_commands = 0\.5"),
    ],
)
def test_values_that_are_not_accepted(changes, message):
    with pytest.raises(HardwareError, match=message):
        FaultSpec(**changes)
    with pytest.raises(HardwareError, match=r"faults = 'none' .* expected a FaultSpec"):
        dataclasses.replace(system().drives[0], faults="none")


def test_with_faults_changes_one_drive_or_all():
    hw = system(num_drives=3)
    assert [drive.faults for drive in hw.with_faults(ALL).drives] == [ALL] * 3
    assert [drive.faults for drive in hw.with_faults(ALL, drive="csd1").drives] == [None, ALL, None]
    assert hw.with_faults(ALL).with_faults(None) == hw
    with pytest.raises(HardwareError, match="no device 'csd3'"):
        hw.with_faults(ALL, drive="csd3")
    with pytest.raises(HardwareError, match="gpu0 is no drive; expected csd0, csd1"):
        hw.with_faults(ALL, drive="gpu0")


def test_a_slower_system_fails_as_often():
    assert system().with_faults(ALL).slowed(100).drives[0].faults == ALL


def test_what_if_values():
    hw = system().replace("csd1.faults.stop_after_commands", 12.0)
    assert [drive.faults for drive in hw.drives] == [None, FaultSpec(stop_after_commands=12)]
    assert hw.source_of("csd1.faults.stop_after_commands") == "what-if value 12.0"
    assert hw.replace("drive.faults.read_retries_mean", 0.01).drives[1].faults == FaultSpec(
        read_retries_mean=0.01, stop_after_commands=12
    )
    with pytest.raises(
        HardwareError, match="stop_after_command' is unknown; did you mean 'stop_after_commands'"
    ):
        system().replace("drive.faults.stop_after_command", 1)
    with pytest.raises(HardwareError, match=r"drive\.faults\.worn_blocks: worn_blocks = 2\.0"):
        system().replace("drive.faults.worn_blocks", 2)


def test_data_without_faults_still_loads():
    data = system().to_dict()
    for drive in data["drives"]:
        del drive["faults"]
    assert HardwareSpec.from_dict(data) == system()
    data["drives"][1]["faults"] = {"sed": 1}
    with pytest.raises(HardwareError, match=r"csd1\.faults has an unknown field 'sed'; accepted are seed"):
        HardwareSpec.from_dict(data)


def test_notes_and_the_printed_form_show_them():
    hw = system(num_drives=4).with_faults(ALL)
    assert system().notes == ()
    assert hw.with_faults(FaultSpec(worn_blocks=0.5), drive="csd3").with_faults(None, drive="csd0").notes == (
        "csd1-2 are made to fail: 0.003 retries a page read, 5 at most, 1e-09 of page reads uncorrectable, 1e-06 of page "
        "programs fail, 0.25 of blocks come worn, stops after 100 commands; predictions leave faults aside",
        "csd3 is made to fail: 0.5 of blocks come worn; predictions leave faults aside",
    )
    text = hw.describe()
    assert "note        csd0-3 are made to fail: 0.003 retries a page read" in text
    assert " ".join(text.split()).endswith(hw.notes[0])
    assert all(len(line) <= 100 for line in text.splitlines())
