"""Seconds in use of every resource, predicted beside measured."""

from __future__ import annotations

from runtime.bench_table import align
from runtime.bench_usage import Usage


def usage_table(predicted: Usage, measured: Usage) -> str:
    """Returns one line per device and link direction."""
    resources = sorted({*predicted.busy_s, *measured.busy_s})
    rows = [("resource", "predicted s", "measured s", "difference")]
    for resource in resources:
        expected, found = predicted.busy_s.get(resource, 0.0), measured.busy_s.get(resource, 0.0)
        difference = f"{found / expected - 1:+.1%}" if expected else "-"
        rows.append((resource, f"{expected:.3f}", f"{found:.3f}", difference))
    return "\n".join(align(rows))
