from pathlib import Path

import pytest

from cost_models import HardwareSpec
from cost_models.describe import seconds, si

GOLDEN = Path(__file__).parent / "goldens"


@pytest.mark.parametrize("name", ["a6000-csd", "smartssd-16"])
def test_describe(name):
    assert HardwareSpec.load(name).describe() + "\n" == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


def test_describe_shows_notes_and_emulation():
    text = HardwareSpec.load("a6000-ssd").slowed(100).describe()
    assert "(emulated)" in text
    assert "no engine" in text
    assert "through host memory only" in text
    assert text.endswith(
        "note        slowed down 100 times: rates divided, latencies multiplied, capacities unchanged"
    )


def test_units():
    assert si(11.2e9, "B/s") == "11.2 GB/s"
    assert si(12, "B") == "12 B"
    assert [seconds(value) for value in (2.0, 8e-3, 4e-5, 5e-9)] == ["2 s", "8 ms", "40 us", "5 ns"]
