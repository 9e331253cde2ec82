"""What flash can take in before it wears out."""

import pytest

from cost_models import (
    RELAXED_RETENTION,
    HardwareError,
    HardwareSpec,
    drive_writes_per_day,
    life_years,
    lifetime_bytes,
)
from tests.cost_models.systems import FLASH


def test_lifetime_is_capacity_times_cycles():
    assert lifetime_bytes(FLASH) == FLASH.capacity_bytes * 3000
    assert lifetime_bytes(FLASH, RELAXED_RETENTION) == pytest.approx(6.67 * FLASH.capacity_bytes * 3000)


def test_the_papers_tokens_per_life():
    # InstInfer (arXiv 2409.04992), endurance: 4 drives of 2 TB, 0.78 MB of KV per token, 3,000 P/E cycles
    drives = HardwareSpec.load("a6000-csd").with_drives(4).drives
    tokens = sum(lifetime_bytes(drive.flash) for drive in drives) / (0.78 * 2**20)
    assert tokens == pytest.approx(3.226e10, rel=0.01)


def test_writes_per_day_and_years():
    rate = FLASH.capacity_bytes / 86400
    assert drive_writes_per_day(FLASH, rate) == pytest.approx(1)
    assert life_years(FLASH, rate) == pytest.approx(3000 / 365.25)
    assert life_years(FLASH, rate, RELAXED_RETENTION) == pytest.approx(6.67 * 3000 / 365.25)
    assert drive_writes_per_day(FLASH, 0.0) == 0


@pytest.mark.parametrize(("rate", "stretch"), [(0.0, 1.0), (1.0, 0.0)])
def test_a_life_without_end_or_without_cycles(rate, stretch):
    with pytest.raises(HardwareError, match="is not accepted"):
        life_years(FLASH, rate, stretch)
