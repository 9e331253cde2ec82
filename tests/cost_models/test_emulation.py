"""The emulation table: read, refused, changed, and kept as it is where the described hardware is slowed down."""

import dataclasses
from importlib.resources import files

import pytest

from cost_models import EmulationSpec, HardwareError, HardwareSpec
from cost_models.hardware_file import parse

PLAIN = (files("cost_models") / "presets" / "h200-csd4.toml").read_text(encoding="utf-8")
SPEC = EmulationSpec(bytes_per_s=50e9, command_s=2e-3, to_share_s=3e-4, from_share_s=4e-4, step_s=5e-4)
TABLE = "\n[emulation]\n" + "\n".join(
    f'{name} = {{ value = {value}, source = "measured" }}' for name, value in dataclasses.asdict(SPEC).items()
)


def test_a_description_may_have_the_table() -> None:
    hw = parse(PLAIN + TABLE, "a machine")
    assert hw.emulation == SPEC
    assert hw.source_of("emulation.command_s") == "measured"
    assert HardwareSpec.from_dict(hw.to_dict()) == hw
    assert "drives attend at 50 GB/s together, 2 ms a command" in hw.describe()


@pytest.mark.parametrize("name", HardwareSpec.preset_names())
def test_the_drives_of_presets_are_taken_to_be_real(name: str) -> None:
    assert HardwareSpec.load(name).emulation is None


def test_an_attention_takes_a_command_and_its_bytes() -> None:
    assert SPEC.attend_s(0.0) == 2e-3
    assert SPEC.attend_s(50e6) == pytest.approx(3e-3)


def test_a_slower_description_leaves_the_machine_that_emulates_it() -> None:
    hw = dataclasses.replace(HardwareSpec.load("h200-csd4"), emulation=SPEC)
    assert hw.slowed(8).emulation == SPEC
    assert hw.with_drives(2).emulation == SPEC


def test_a_value_can_be_changed() -> None:
    hw = parse(PLAIN + TABLE, "a machine").replace("emulation.step_s", 1e-3)
    assert hw.emulation is not None
    assert hw.emulation.step_s == 1e-3
    assert hw.source_of("emulation.step_s") == "what-if value 0.001"
    with pytest.raises(
        HardwareError, match=r"no value at 'emulation\.steps': 'steps' is unknown; did you mean"
    ):
        hw.replace("emulation.steps", 1.0)
    with pytest.raises(
        HardwareError, match=r"has no value at 'emulation\.step_s'; accepted are .*emulation\.FIELD"
    ):
        HardwareSpec.load("h200-csd4").replace("emulation.step_s", 1e-3)


@pytest.mark.parametrize(("name", "value"), [("bytes_per_s", 0.0), ("command_s", -1.0), ("step_s", -1e-9)])
def test_values_that_no_machine_has_are_refused(name: str, value: float) -> None:
    with pytest.raises(HardwareError, match=rf"{name} = {value} is not accepted: expected"):
        dataclasses.replace(SPEC, **{name: value})


def test_a_table_that_lacks_a_value_is_refused() -> None:
    with pytest.raises(HardwareError, match=r"a machine: emulation has no key 'step_s'|emulation\.step_s"):
        parse(PLAIN + TABLE.rsplit("\n", 1)[0], "a machine")


def test_something_else_in_place_of_the_table_is_refused() -> None:
    with pytest.raises(HardwareError, match=r"expected an EmulationSpec, or none for real drives"):
        dataclasses.replace(HardwareSpec.load("h200-csd4"), emulation=1.0)
