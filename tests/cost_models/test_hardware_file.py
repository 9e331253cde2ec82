import tomllib
from importlib.resources import files

import pytest

from cost_models import HardwareError, HardwareSpec
from cost_models.hardware_file import parse, preset_names

A6000 = (files("cost_models") / "presets" / "a6000-csd.toml").read_text(encoding="utf-8")


def changed(old: str, new: str) -> str:
    """The text of a preset with one passage replaced, which must be there."""
    assert old in A6000
    return A6000.replace(old, new, 1)


def test_shipped_presets():
    plain = ("2xa6000-csd", "a6000-csd", "a6000-ssd", "demo", "h200-csd4")
    assert preset_names() == (*plain, "paper-2xa6000-csd", "paper-a6000-csd", "smartssd-16")
    assert HardwareSpec.preset_names() == preset_names()


@pytest.mark.parametrize("name", preset_names())
def test_preset_loads_round_trips_and_passes_its_self_check(name):
    hw = HardwareSpec.load(name)
    assert hw.name == name
    assert hw.notes == ()
    assert HardwareSpec.from_dict(hw.to_dict()) == hw
    assert all(len(line) <= 100 for line in hw.describe().splitlines())


def numeric_leaves(data, path=""):
    """Yields the dotted key of every ``{ value, source }`` and of every bare number."""
    for key, value in data.items():
        dotted = f"{path}.{key}" if path else key
        if isinstance(value, dict) and "value" not in value:
            yield from numeric_leaves(value, dotted)
        elif isinstance(value, dict):
            yield dotted, value["source"]
        elif not isinstance(value, bool | str):
            yield dotted, None


@pytest.mark.parametrize("name", preset_names())
def test_every_number_of_a_preset_has_a_source(name):
    text = (files("cost_models") / "presets" / f"{name}.toml").read_text(encoding="utf-8")
    leaves = dict(numeric_leaves(tomllib.loads(text)))
    bare = {key for key, source in leaves.items() if source is None}
    assert bare <= {"gpu.count", "drive.count", "link.switch.drives"}
    hw = HardwareSpec.load(name)
    for key in leaves.keys() - bare:
        assert hw.source_of(key) == leaves[key]
        assert len(leaves[key]) > 10


def test_paper_testbed_figures():
    hw = HardwareSpec.load("a6000-csd")
    assert hw.gpus[0].memory_bytes_per_s == 768e9
    assert hw.gpus[0].flops("float16") == 154.8e12
    assert hw.host.memory_bytes_per_s == pytest.approx(8 * 8 * 2.933e9, rel=1e-3)
    assert hw.drives[0].flash.internal_bytes_per_s == pytest.approx(11.2e9)
    assert hw.drives[0].flash.capacity_bytes == 2**41
    assert hw.link("csd0").bytes_per_s == 7e9
    # endurance of four drives at 0.78 MiB of KV per token: 3.226e10 tokens
    written = 4 * hw.drives[0].flash.capacity_bytes * hw.drives[0].flash.rated_pe_cycles
    assert written / (0.78 * 2**20) == pytest.approx(3.226e10, rel=1e-3)


def test_demo_keeps_the_ratios_of_the_testbed():
    demo, testbed = HardwareSpec.load("demo"), HardwareSpec.load("a6000-csd")

    def rates(hw):
        return (
            hw.gpus[0].memory_bytes_per_s,
            hw.host.memory_bytes_per_s,
            hw.drives[0].flash.internal_bytes_per_s,
            hw.link("csd0").bytes_per_s,
            hw.link("gpu0").bytes_per_s,
        )

    ratios = [fast / slow for fast, slow in zip(rates(testbed), rates(demo), strict=True)]
    assert ratios == pytest.approx([ratios[0]] * 5)
    assert demo.gpus[0].emulated
    assert demo.host.emulated
    assert not testbed.gpus[0].emulated


def test_plain_ssd_and_switch():
    ssd = HardwareSpec.load("a6000-ssd")
    assert ssd.drives[0].engine is None
    assert not ssd.p2p
    smart = HardwareSpec.load("smartssd-16")
    assert smart.ports["csd15"] == ("csd15", "switch0")
    assert len(smart.drives) == 16


def test_load_from_path(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(changed('name = "a6000-csd"', 'name = "mine"'), encoding="utf-8")
    assert HardwareSpec.load(path).name == "mine"
    assert HardwareSpec.load(str(path)) == HardwareSpec.load(path)


def test_unknown_preset_lists_presets():
    with pytest.raises(
        HardwareError, match=r"no preset or file 'a600-csd'; presets are 2xa6000-csd, a6000-csd"
    ):
        HardwareSpec.load("a600-csd")


def test_binary_file(tmp_path):
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(HardwareError, match="cannot be read as a text file"):
        HardwareSpec.load(path)


MEMORY = "memory_bytes = { value = 48e9,"
CHANNELS = "channels = { value = 8,"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = [", r"x\.toml: not well-formed TOML"),
        (A6000.replace("[host", "[hosts"), r"x\.toml: missing table 'host'; did you mean 'hosts'\?"),
        (changed("p2p = true", ""), r"x\.toml: missing key 'p2p'"),
        (changed("p2p = true", 'p2p = "yes"'), "p2p = 'yes' is not accepted: expected true or false"),
        (
            changed("memory_bytes =", "memory_byte ="),
            "missing key 'gpu.memory_bytes'; did you mean 'memory_byte'",
        ),
        (changed("p2p = true", "p2p = true\ncolour = 3"), "unknown key 'colour'; accepted are name"),
        (
            changed("[drive.flash]", '[drive.flash]\nchannel = { value = 8, source = "a guess" }'),
            "unknown key 'drive.flash.channel'; did you mean 'channels'",
        ),
        (changed(MEMORY, 'memory_bytes = { value = "48e9",'), "gpu.memory_bytes = '48e9' .* a finite number"),
        (
            changed(MEMORY, "memory_bytes = { value = -48e9,"),
            r"gpu\.memory_bytes = -48000000000.0 .* at least 0",
        ),
        (changed(MEMORY, "memory_bytes = { value = nan,"), "gpu.memory_bytes = nan .* a finite number"),
        (changed("value = 768e9", "value = inf"), "gpu.memory_bytes_per_s = inf .* a finite number"),
        (changed("value = 768e9", "value = 0"), "gpu.memory_bytes_per_s = 0.0 .* above 0"),
        (changed("value = 154.8e12", "value = 0"), "gpu.peak_flops.float16 = 0.0"),
        (changed("value = 650e9", "value = 0"), r"x\.toml: drive\.engine\.flops = 0.0 .* above 0"),
        (changed(CHANNELS, "channels = { value = 0,"), r"drive\.flash\.channels = 0 .* at least 1"),
        (changed(CHANNELS, "channels = { value = 8.5,"), "drive.flash.channels = 8.5 .* a whole number"),
        (changed("value = 7e9", "value = -7e9"), "link.drive.bytes_per_s"),
        (changed("value = 0.896", "value = 1.2"), "gpu.memory_efficiency = 1.2 .* at most 1"),
        (changed("count = 1", "count = -1"), "gpu.count = -1 .* at least 0"),
        (changed("count = 1", "count = true"), "gpu.count = True"),
        (changed('name = "NVIDIA RTX A6000"', "name = 6000"), "gpu.name = 6000 .* a text"),
        (
            changed("[link.gpu]", "[link.switch]\ndrives = 0\n[link.gpu]"),
            "link.switch.drives = 0 .* at least 1",
        ),
        ("name = 'a'\ndescription = 'b'\np2p = true\ngpu = 3", "gpu = 3 is not accepted: expected a table"),
    ],
)
def test_faulty_files(text, message):
    with pytest.raises(HardwareError, match=message):
        parse(text, "x.toml")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("48e9", "gpu.memory_bytes = 48000000000.0 has no source; write gpu.memory_bytes = { value = 48"),
        ("{ value = 48e9 }", "gpu.memory_bytes has no source"),
        ('{ value = 48e9, source = " " }', "gpu.memory_bytes has no source"),
        ('{ source = "datasheet" }', "gpu.memory_bytes = .* expected the form"),
        ('{ value = 48e9, source = "datasheet", unit = "B" }', "unknown key gpu.memory_bytes.unit"),
    ],
)
def test_numbers_without_source(entry, message):
    lines = [f"memory_bytes = {entry}" if MEMORY in line else line for line in A6000.splitlines()]
    with pytest.raises(HardwareError, match=message):
        parse("\n".join(lines), "x.toml")


def test_dies_that_cannot_cover_the_channel_are_noted_not_refused():
    hw = parse(changed("t_read_s = { value = 40e-6", "t_read_s = { value = 400e-6"), "x.toml")
    assert len(hw.notes) == 1
    assert (
        "dies cannot cover the channel rate: 8 dies x 4 planes x 4096 B / 400 us = 0.328 GB/s" in hw.notes[0]
    )
    assert hw.drives[0].flash.internal_bytes_per_s == pytest.approx(8 * 32 * 4096 / 400e-6)
