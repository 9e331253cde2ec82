"""Shares of devices in words: ``csd0-3``, or ``host 60 %, csd0 40 %``."""

from __future__ import annotations

from collections.abc import Mapping

from partitioner.plan.names import device_span, tier_of
from partitioner.plan.report.numerals import percent


def shares_text(shares: Mapping[str, float]) -> str:
    """Returns devices with their shares; those of one kind are taken together, and 100 % goes without saying."""
    tiers: dict[str, list[str]] = {}
    for device, share in shares.items():
        if share:
            tiers.setdefault(tier_of(device), []).append(device)
    if len(tiers) == 1:
        return device_span(*tiers.values())
    total = sum(shares.values())
    return ", ".join(
        f"{device_span(devices)} {percent(sum(shares[d] for d in devices) / total)} %"
        for devices in tiers.values()
    )
