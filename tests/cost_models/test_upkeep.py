"""Prices, powers, service life and the price of energy: read, carried through changes, and turned into joules and dollars."""

from dataclasses import replace

import pytest

from cost_models import (
    HardwareError,
    HardwareSpec,
    energy_j,
    energy_usd,
    idle_power_w,
    missing_power,
    missing_price,
    owning_usd_per_s,
    running_usd,
    system_price_usd,
    working_power_w,
)
from cost_models.hardware_file import parse
from tests.cost_models.systems import DRIVE, GPU, HOST, system
from tests.cost_models.test_hardware_file import changed

PRICED = ("2xa6000-csd", "a6000-csd", "a6000-ssd", "h200-csd4", "smartssd-16")


def priced() -> HardwareSpec:
    """Returns one GPU, the host and two drives with round figures."""
    hw = system()
    return replace(
        hw,
        gpus=(replace(GPU, price_usd=5000.0, idle_w=20.0, active_w=300.0),),
        host=replace(HOST, price_usd=3000.0, idle_w=100.0, active_w=200.0),
        drives=(replace(DRIVE, price_usd=1000.0, idle_w=5.0, active_w=25.0),) * 2,
        service_life_s=1e8,
        electricity_usd_per_j=2e-8,
    )


@pytest.mark.parametrize("name", PRICED)
def test_presets_of_real_systems_have_all_figures(name):
    hw = HardwareSpec.load(name)
    assert missing_power(hw) is None
    assert missing_price(hw) is None
    assert hw.service_life_s == pytest.approx(4 * 365.25 * 86400)
    assert hw.electricity_usd_per_j * 3.6e6 == pytest.approx(0.08, rel=1e-3)
    for key in ("gpu.price_usd", "host.idle_w", "drive.active_w", "service_life_s", "electricity_usd_per_j"):
        assert hw.source_of(key)


def test_board_powers_are_those_of_the_datasheets():
    assert HardwareSpec.load("a6000-csd").gpus[0].active_w == 300
    assert HardwareSpec.load("a6000-csd").host.active_w == 185
    assert HardwareSpec.load("h200-csd4").gpus[0].active_w == 700
    assert HardwareSpec.load("smartssd-16").drives[0].active_w == 25


def test_the_emulated_system_has_none():
    demo = HardwareSpec.load("demo")
    assert missing_power(demo) == "gpu0.idle_w"
    assert missing_price(demo) == "gpu0.price_usd"


def test_energy_is_idle_power_all_the_time_and_the_rest_while_busy():
    hw = priced()
    assert idle_power_w(hw) == 20 + 100 + 5 + 5
    assert working_power_w(hw, "gpu0") == 280
    assert energy_j(hw, 10.0, {"gpu0": 2.0, "csd1": 8.0}) == 130 * 10 + 280 * 2 + 20 * 8
    assert energy_j(hw, 10.0, {}) == 1300


def test_dollars_are_the_share_of_the_service_life_and_the_energy():
    hw = priced()
    assert system_price_usd(hw) == 10_000
    assert owning_usd_per_s(hw) == pytest.approx(1e-4)
    assert energy_usd(hw, 3.6e6) == pytest.approx(0.072)
    assert running_usd(hw, 10.0, {"gpu0": 2.0}) == pytest.approx(1e-3 + (1300 + 560) * 2e-8)


def test_what_if_changes_carry_the_figures():
    hw = priced()
    assert system_price_usd(hw.with_drives(4)) == 12_000
    assert idle_power_w(hw.with_drives(0)) == 120
    slow = hw.slowed(100)
    assert (system_price_usd(slow), idle_power_w(slow)) == (system_price_usd(hw), idle_power_w(hw))
    assert (slow.service_life_s, slow.electricity_usd_per_j) == (1e8, 2e-8)
    assert hw.replace("gpu.price_usd", 1).gpus[0].price_usd == 1.0
    assert HardwareSpec.load("demo").replace("host.price_usd", 10).host.price_usd == 10.0
    changed_life = hw.replace("service_life_s", 2e8)
    assert owning_usd_per_s(changed_life) == pytest.approx(5e-5)
    assert "what-if" in changed_life.source_of("service_life_s")
    assert HardwareSpec.from_dict(hw.to_dict()) == hw


def test_data_without_the_figures_still_loads():
    data = system().to_dict()
    for device in (*data["gpus"], data["host"], *data["drives"]):
        for key in ("price_usd", "idle_w", "active_w"):
            del device[key]
    del data["service_life_s"], data["electricity_usd_per_j"]
    assert HardwareSpec.from_dict(data) == system()


def test_the_printed_form_shows_them():
    text = priced().describe()
    assert "5,000 USD, 20 W idle, 300 W at work\n" in text
    assert "1,000 USD, 5 W idle, 25 W at work each\n" in text
    assert "upkeep      written off over 3.17 years, energy at 0.072 USD per kWh" in text
    assert "USD" not in system().describe()
    assert "5,000 USD\n" in replace(system(), gpus=(replace(GPU, price_usd=5000.0),)).describe()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda hw: energy_j(hw, 1.0, {}), r"no gpu\.idle_w and gpu\.active_w.*add them to \[gpu\]"),
        (lambda hw: working_power_w(hw, "csd0"), r"no drive\.idle_w .*\[drive\]"),
        (lambda hw: running_usd(hw, 1.0, {}), r"no gpu\.price_usd, which dollars need; add it to \[gpu\]"),
        (lambda hw: energy_usd(hw, 1.0), r"no electricity_usd_per_j.*to the top of its description"),
    ],
)
def test_asking_for_what_is_missing_names_the_key_and_the_remedy(ask, message):
    with pytest.raises(HardwareError, match=message):
        ask(system())


def test_a_missing_service_life_is_named():
    hw = replace(priced(), service_life_s=None)
    assert missing_price(hw) == "service_life_s"
    with pytest.raises(HardwareError, match=r"no service_life_s, which dollars need"):
        owning_usd_per_s(hw)


def test_missing_figures_are_found_in_turn():
    assert missing_price(replace(priced(), electricity_usd_per_j=None)) == "electricity_usd_per_j"
    hw = replace(priced(), drives=(replace(DRIVE, price_usd=1.0),) * 2)
    assert missing_price(hw) == missing_power(hw) == "csd0.idle_w"


@pytest.mark.parametrize(("seconds", "busy"), [(-1.0, {}), (1.0, {"gpu0": -1.0}), (1.0, {"gpu7": 1.0})])
def test_energy_of_nonsense(seconds, busy):
    with pytest.raises(HardwareError, match=r"seconds = -1|busy_s of gpu0 = -1|no device 'gpu7'"):
        energy_j(priced(), seconds, busy)


@pytest.mark.parametrize(
    ("spec", "fields", "message"),
    [
        (GPU, {"price_usd": -1.0}, r"price_usd = -1\.0 is not accepted"),
        (GPU, {"idle_w": 5.0}, r"idle_w is given without active_w"),
        (DRIVE, {"active_w": 5.0}, r"active_w is given without idle_w"),
        (
            DRIVE,
            {"idle_w": 9.0, "active_w": 5.0},
            r"active_w = 5\.0 is not accepted: expected at least idle_w",
        ),
        (GPU, {"idle_w": -1.0, "active_w": 5.0}, r"idle_w = -1\.0"),
        (system(), {"service_life_s": 0.0}, r"service_life_s = 0\.0 .* above 0"),
        (system(), {"electricity_usd_per_j": float("nan")}, r"electricity_usd_per_j = nan"),
    ],
)
def test_figures_that_are_not_accepted(spec, fields, message):
    with pytest.raises(HardwareError, match=message):
        replace(spec, **fields)


def test_a_price_needs_a_source():
    text = changed('price_usd = { value = 4650.0, source = "', "price_usd = 4650.0 # ")
    with pytest.raises(HardwareError, match=r"gpu\.price_usd = 4650\.0 has no source"):
        parse(text, "x.toml")
