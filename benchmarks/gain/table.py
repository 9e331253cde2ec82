"""The printed form of gains, predicted beside measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from benchmarks.gain.bars import Comparison
from benchmarks.gain.held import Held
from runtime.bench_table import align

_SPEEDS = (
    ("", "", "micro-", "most", "tokens/s", "", "", "prefill s", "", "GPU+drive s", "", "", "as plain"),
    (
        "policy",
        "batch",
        "batches",
        "shares",
        "predicted",
        "measured",
        "spread",
        "predicted",
        "measured",
        "predicted",
        "measured",
        "fidelity",
        "jit",
    ),
)
_GAINS = (("auto over", "batch", "predicted", "measured", "measured / predicted"),)


def table(comparisons: Sequence[Comparison]) -> str:
    """Returns speeds and overlap of every plan, then the gains of ``auto``."""
    speeds = [_speed(held, comparison) for comparison in comparisons for held in comparison.plans]
    gains = [
        (
            gain.other.policy,
            str(comparison.batch_size),
            f"{gain.predicted:.2f}",
            f"{gain.measured:.2f}",
            f"{gain.ratio:.3f}",
        )
        for comparison in comparisons
        for gain in comparison.gains
    ]
    return "\n".join(
        (
            "Decoding: tokens/s, and seconds in which GPU and drive are in use at once",
            *align([*_SPEEDS, *speeds]),
            "",
            "Gain of auto: tokens/s of decoding over those of another policy",
            *align([*_GAINS, *gains]),
        )
    )


def _speed(held: Held, comparison: Comparison) -> tuple[str, ...]:
    return (
        held.policy,
        str(held.batch_size),
        str(held.micro_batches),
        str(held.num_shares),
        f"{held.predicted_tokens_per_s:.1f}",
        f"{held.tokens_per_s:.1f}",
        f"{held.spread:.1%}" if len(held.measured_s) > 1 else "-",
        f"{held.predicted_prefill_s:.2f}",
        f"{median(held.measured_prefill_s):.2f}",
        f"{held.predicted_overlap_s:.2f}",
        f"{held.overlap_s:.2f}",
        f"{median(held.fidelity):.3f}",
        "yes" if held.tokens == comparison.plain_tokens else "NO",
    )
