"""Plans and peers beside each other: how much faster one policy decodes than each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.gain.bars import Comparison
from benchmarks.gain.held import Held
from benchmarks.peers.generate import Generated
from runtime.bench_spread import spread
from runtime.bench_table import align

OURS = "instinfer"
FACTOR_TOLERANCE = 0.2
"""How far a measured factor may be from the predicted one, as a share of it."""


@dataclass(frozen=True)
class Peer:
    """Holds what a peer did.

    Attributes:
        name: What it is.
        like: The policy whose prediction is also the peer's: the same bytes cross the same links.
        results: What came of each run.
    """

    name: str
    like: str
    results: tuple[Generated, ...]

    @property
    def tokens(self) -> tuple[tuple[int, ...], ...] | None:
        """Returns the new tokens of every sequence; None where the runs disagree."""
        made = {tuple(tuple(map(int, row)) for row in result.tokens) for result in self.results}
        return made.pop() if len(made) == 1 else None


@dataclass(frozen=True)
class Line:
    """Compares the speed of plan ``OURS`` with that of another plan or a peer, in tokens per second of decoding.

    Attributes:
        name: The other one.
        predicted_tokens_per_s: Its predicted speed.
        measured_tokens_per_s: Its median measured speed.
        spread: Range of its measured speeds over their median.
        predicted: Predicted factor.
        measured: Measured factor.
        same_tokens: Whether its tokens are those of plain jit.
        is_peer: Whether it is no plan.
    """

    name: str
    predicted_tokens_per_s: float
    measured_tokens_per_s: float
    spread: float
    predicted: float
    measured: float
    same_tokens: bool
    is_peer: bool

    @property
    def ratio(self) -> float:
        """Returns the measured factor over the predicted one."""
        return self.measured / self.predicted


def lines_of(comparison: Comparison, peers: Sequence[Peer]) -> tuple[Line, ...]:
    """Returns a line for every plan and peer at one batch size."""
    plans = {held.policy: held for held in comparison.plans}
    ours = plans[OURS]
    lines = [
        _line(ours, held, held.measured_s, held.policy, held.tokens == comparison.plain_tokens)
        for held in plans.values()
    ]
    lines += [
        _line(
            ours,
            plans[peer.like],
            [result.decode_s for result in peer.results],
            peer.name,
            peer.tokens == comparison.plain_tokens,
            is_peer=True,
        )
        for peer in peers
    ]
    return tuple(lines)


def _line(
    ours: Held, like: Held, seconds: Sequence[float], name: str, same: bool, *, is_peer: bool = False
) -> Line:
    speeds = [like.num_tokens / s for s in seconds]
    return Line(
        name=name,
        predicted_tokens_per_s=like.predicted_tokens_per_s,
        measured_tokens_per_s=median(speeds),
        spread=spread(speeds),
        predicted=ours.predicted_tokens_per_s / like.predicted_tokens_per_s,
        measured=ours.tokens_per_s / median(speeds),
        same_tokens=same,
        is_peer=is_peer,
    )


def table(lines: Sequence[Line]) -> str:
    """Returns speeds and factors as text."""
    head = [
        ("", "tokens/s", "tokens/s", "", f"{OURS} faster by", "", "measured /", "as plain"),
        ("plan or peer", "predicted", "measured", "spread", "predicted", "measured", "predicted", "jit"),
    ]
    rows = [
        (
            line.name,
            f"{line.predicted_tokens_per_s:.1f}",
            f"{line.measured_tokens_per_s:.1f}",
            f"{line.spread:.1%}",
            f"{line.predicted:.2f}",
            f"{line.measured:.2f}",
            f"{line.ratio:.3f}",
            "yes" if line.same_tokens else "NO",
        )
        for line in lines
    ]
    return "\n".join(align([*head, *rows]))


def missed_bars(lines: Sequence[Line]) -> list[str]:
    """Returns a sentence for everything that does not hold."""
    missed = [
        f"the tokens of {line.name} are not those of plain jit" for line in lines if not line.same_tokens
    ]
    return missed + [
        f"{OURS} is faster than {line.name} by {line.measured:.2f}, which is {abs(line.ratio - 1):.0%} from the predicted "
        f"{line.predicted:.2f}; the bar is {FACTOR_TOLERANCE:.0%}"
        for line in lines
        if line.is_peer and abs(line.ratio - 1) > FACTOR_TOLERANCE
    ]
