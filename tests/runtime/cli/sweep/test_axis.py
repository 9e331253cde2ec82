"""What can be varied, how it is written, and what is refused."""

import pytest

from cost_models import HardwareSpec
from partitioner import SparF, Workload
from partitioner.plan.settings import hardware_settings
from runtime.cli.one_line_errors import ArgumentError
from runtime.cli.sweep.axis import Axis, known_keys, parse_axis
from runtime.cli.sweep.quantity import quantity

DEMO = HardwareSpec.load("demo")
LOAD = Workload(4, 100, 32)


def at(text: str) -> tuple[HardwareSpec, Workload]:
    axis = parse_axis(text, DEMO)
    return axis.at(axis.values[0], DEMO, LOAD)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("8", 8),
        ("1.5e9", 1.5e9),
        ("32G", 32e9),
        ("2k", 2000),
        ("2K", 2000),
        ("3M", 3e6),
        ("64Gi", 64 * 2**30),
        ("1Ki", 1024),
        ("1.5Mi", 1.5 * 2**20),
        ("1e-3", 1e-3),
    ],
)
def test_suffixes(text: str, value: float) -> None:
    assert quantity(text).value == value
    assert quantity(text).text == text


@pytest.mark.parametrize("text", ["x", "1Q", "", "1.2.3", "G", "inf", "nan", "8 G"])
def test_what_is_no_number(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"is not a number; give one such as 8, 1\.5e9, 32G"):
        quantity(text)


def test_values_are_put_into_the_workload() -> None:
    assert at("batch=16")[1] == Workload(16, 100, 32)
    assert at("prompt-len=1k")[1] == Workload(4, 1000, 32)
    assert at("decode-len=7")[1] == Workload(4, 100, 7)


def test_a_context_keeps_the_new_tokens_or_takes_half() -> None:
    assert at("context=1000")[1] == Workload(4, 968, 32)
    assert at("context=40")[1] == Workload(4, 20, 20)
    assert at("context=2")[1] == Workload(4, 1, 1)


def test_a_sparsity_is_one_part_in_so_many() -> None:
    assert at("sparsity=8")[1].sparsity == SparF.ratio(8)


def test_values_are_put_into_the_hardware() -> None:
    assert len(at("drives=3")[0].drives) == 3
    assert at("drives=0")[0].drives == ()
    assert at("host.memory_bytes=1Gi")[0].host.memory_bytes == 2**30
    assert at("link.drive.bytes_per_s=7G")[0].link("csd0").bytes_per_s == 7e9
    assert at("drive.flash.channels=16")[0].drives[0].flash.channels == 16
    assert at("csd0.engine.flops=1T")[0].drives[0].engine.flops == 1e12
    assert at("gpu.price_usd=5k")[0].gpus[0].price_usd == 5000
    assert at("service_life_s=1e8")[0].service_life_s == 1e8


def test_every_known_key_leads_somewhere() -> None:
    hw = HardwareSpec.load("smartssd-16")
    current = hardware_settings(hw)
    for key in known_keys(hw):
        value = 2 if key == "sparsity" else current.get(key, 2)
        assert parse_axis(f"{key}={0.5 if value is None else value}", hw).key == key


def test_a_value_given_twice_is_one() -> None:
    axis = parse_axis("batch=1, 2,2,2.0", DEMO)
    assert [value.text for value in axis.values] == ["1", "2"]


@pytest.mark.parametrize(
    ("key", "label"),
    [
        ("drives", "number of drives"),
        ("host.memory_bytes", "host.memory_bytes [B]"),
        ("link.drive.bytes_per_s", "link.drive.bytes_per_s [B/s]"),
        ("gpu.peak_flops.float16", "gpu.peak_flops.float16 [FLOP/s]"),
        ("drive.flash.t_read_s", "drive.flash.t_read_s [s]"),
        ("gpu.active_w", "gpu.active_w [W]"),
        ("electricity_usd_per_j", "electricity_usd_per_j [USD/J]"),
        ("drive.flash.channels", "drive.flash.channels"),
    ],
)
def test_labels_have_units(key: str, label: str) -> None:
    assert Axis(key, ()).label == label


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("drives", r"has no key and values; write KEY=VALUE,VALUE"),
        ("=1", r"has no key and values"),
        ("drives=", r"--sweep drives has no values"),
        ("drives=,", r"--sweep drives has no values"),
        ("drives=x,2", r"--sweep drives: 'x' is not a number"),
        ("drives=1.5", r"'1\.5' is not accepted; give whole numbers of at least 0"),
        ("batch=0", r"'0' is not accepted; give whole numbers of at least 1"),
        ("context=1", r"give whole numbers of at least 2"),
        ("sparsity=1", r"give whole numbers of at least 2"),
        ("drves=1", r"no key 'drves' to vary; did you mean drives\?"),
        ("gpu.memory=1", r"did you mean gpu\.memory_bytes or "),
        ("x.memory_bytes=1", r"no key 'x\.memory_bytes' to vary; did you mean .*memory_bytes"),
        (
            "zzzz=1",
            r"known are batch, prompt-len, decode-len, context, sparsity, drives and numbers of the hardware",
        ),
        ("gpu.name=1", r"gpu\.name: name = 1\.0 is not accepted"),
        ("gpu.peak_flops=1", r"no key 'gpu\.peak_flops' to vary"),
        ("gpu.memory_efficiency=0.5,2", r"memory_efficiency=2: .* at most 1"),
        ("p2p=1", r"p2p = 1\.0 is not accepted: expected true or false"),
    ],
)
def test_bad_sweeps(text: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        parse_axis(text, DEMO)
