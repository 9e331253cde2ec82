import json
from dataclasses import replace

import pytest

from cost_models import HardwareError, HardwareSpec
from tests.cost_models.systems import GPU, system


def test_devices_in_order():
    hw = system()
    assert hw.device_names == ("gpu0", "host", "csd0", "csd1")
    assert hw.compute("host").kind == "host"
    assert hw.drive("csd1") is hw.drives[1]
    assert hw.memory_bytes("gpu0") == 1e9
    assert hw.memory_bytes("csd0") == hw.drives[0].flash.capacity_bytes
    assert hw.link("csd1").bytes_per_s == 4e9


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda hw: hw.device("gpu1"), "no device 'gpu1'; it has gpu0, host, csd0, csd1"),
        (lambda hw: hw.compute("csd0"), "csd0 is a drive"),
        (lambda hw: hw.drive("host"), "host is no drive"),
        (lambda hw: hw.link("nvlink"), "no link 'nvlink'; it has gpu0"),
        (lambda hw: replace(hw, ports={"host": ()}), "ports .* one entry for each of gpu0, host"),
        (lambda hw: replace(hw, ports={**hw.ports, "host": ("gpu0",)}), "host memory is the root"),
        (lambda hw: replace(hw, ports={**hw.ports, "csd0": ()}), "at least one link"),
        (lambda hw: replace(hw, ports={**hw.ports, "csd0": ("csd7",)}), "'csd7' .* one of the links"),
        (lambda hw: replace(hw, links=(*hw.links, hw.links[0])), "unique"),
        (lambda hw: replace(hw, gpus=(hw.host,)), r"gpu0\.kind"),
        (lambda hw: replace(hw, host=GPU), r"host\.kind"),
    ],
)
def test_faulty_questions_and_wirings(ask, message):
    with pytest.raises(HardwareError, match=message):
        ask(system())


def test_equal_descriptions_hash_alike():
    assert system() == system()
    assert hash(system()) == hash(system())


def test_round_trip_through_json():
    hw = system(switched=True).slowed(3)
    assert HardwareSpec.from_dict(json.loads(json.dumps(hw.to_dict()))) == hw


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.pop("p2p"), "hardware lacks the field 'p2p'"),
        (lambda data: data.update(color="red"), "hardware has an unknown field 'color'"),
        (lambda data: data["gpus"][0].pop("launch_s"), "gpu0 lacks the field 'launch_s'"),
        (lambda data: data["drives"][1]["flash"].update(channels=0), "csd1.flash: channels = 0"),
        (lambda data: data["drives"][0].pop("engine"), "csd0 lacks the field 'engine'"),
        (lambda data: data.update(links="none"), "hardware.links = 'none'"),
        (lambda data: data.update(ports=[]), "hardware.ports"),
        (lambda data: data.update(host=3), "host = 3"),
        (lambda data: data.update(remarks=3), "hardware has a value of the wrong type"),
        (lambda data: data.update(sources=[1]), "hardware has a value of the wrong type"),
    ],
)
def test_faulty_data(change, message):
    data = system().to_dict()
    change(data)
    with pytest.raises(HardwareError, match=message):
        HardwareSpec.from_dict(data)
