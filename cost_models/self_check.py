"""The self-check of a hardware description: numbers that are accepted but do not fit each other."""

from cost_models.components import FlashSpec
from cost_models.hardware import HardwareSpec


def geometry_warnings(hw: HardwareSpec) -> tuple[str, ...]:
    """Returns one warning per kind of drive whose dies cannot keep their channel busy."""
    warnings: dict[str, None] = {}
    for drive in hw.drives:
        if not dies_cover_channel(drive.flash):
            warnings[_explain(drive.flash)] = None
    return tuple(warnings)


def dies_cover_channel(flash: FlashSpec) -> bool:
    """Tells whether the dies of a channel sense at least as fast as the channel carries (0.1 % slack)."""
    return flash.array_read_bytes_per_s >= flash.channel_bytes_per_s * (1 - 1e-3)


def _explain(flash: FlashSpec) -> str:
    """Words the shortfall of the dies behind one channel."""
    return (
        f"flash dies cannot cover the channel rate: {flash.dies_per_channel} dies x {flash.planes_per_die} "
        f"planes x {flash.page_bytes} B / {flash.t_read_s * 1e6:.4g} us = "
        f"{flash.array_read_bytes_per_s / 1e9:.3g} GB/s per channel of "
        f"{flash.channel_bytes_per_s / 1e9:.3g} GB/s; reads run at the dies' rate"
    )
