"""Seconds in use of every resource, predicted beside measured or simulated."""

from __future__ import annotations

from runtime.bench_table import align
from runtime.bench_usage import Usage


def usage_table(predicted: Usage, measured: Usage, *, found: str = "measured") -> str:
    """Returns one line per device and link direction; ``found`` says how the second was found."""
    resources = sorted({*predicted.busy_s, *measured.busy_s})
    rows = [("resource", "predicted s", f"{found} s", "difference")]
    for resource in resources:
        expected, used = predicted.busy_s.get(resource, 0.0), measured.busy_s.get(resource, 0.0)
        difference = f"{used / expected - 1:+.1%}" if expected else "-"
        rows.append((resource, f"{expected:.3f}", f"{used:.3f}", difference))
    return "\n".join(align(rows))
