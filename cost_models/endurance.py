"""How much can be written to flash before it wears out.

Writes are append-only and whole blocks are reclaimed at once, so each byte written is programmed once: write amplification is 1
(InstInfer, arXiv 2409.04992).
"""

from cost_models.checks import require_positive
from cost_models.components import FlashSpec

RELAXED_RETENTION = 6.67
"""Factor on the rated P/E cycles where data is kept for weeks and not for years (InstInfer, arXiv 2409.04992, endurance)."""

SECONDS_PER_DAY = 86_400.0
SECONDS_PER_YEAR = 365.25 * SECONDS_PER_DAY


def lifetime_bytes(flash: FlashSpec, stretch: float = 1.0) -> float:
    """Returns the bytes that can be written to a drive in its life: capacity x rated P/E cycles.

    Args:
        flash: The drive's flash.
        stretch: Factor on the rated cycles, such as :data:`RELAXED_RETENTION`.
    """
    require_positive("stretch", stretch)
    return float(flash.capacity_bytes) * flash.rated_pe_cycles * stretch


def drive_writes_per_day(flash: FlashSpec, bytes_per_s: float) -> float:
    """Returns how often a drive's whole capacity is written per day, at a rate that goes on day and night."""
    return bytes_per_s * SECONDS_PER_DAY / flash.capacity_bytes


def life_years(flash: FlashSpec, bytes_per_s: float, stretch: float = 1.0) -> float:
    """Returns the years until a drive is worn out, at a rate that goes on day and night.

    Raises:
        HardwareError: Nothing is written, so that there is no end to its life.
    """
    require_positive("bytes_per_s", bytes_per_s)
    return lifetime_bytes(flash, stretch) / bytes_per_s / SECONDS_PER_YEAR
