"""All decode steps of a generation, from a sample of them.

What a step takes depends on the tokens that sequences have, in two ways.

- Within a page: pages fill every ``page_tokens`` steps. The step that fills them programs them behind its attentions, and the
  one after it reads one page more of every lane. In between, nothing changes but the tokens in drive memory and the arithmetic,
  both linear in the tokens, and times are sums and maxima of such. So four steps are simulated around a page's end, and one in
  the middle; the others lie on lines between them: exact where the same resources set the pace at both ends of a line.
- From page to page: every term grows linearly with the pages, up to the rounding to whole pages on the fullest channel. Page
  ends are simulated at both ends of a range and between, and ranges are halved until the middle is on the line.

Where sparse attention keeps K by channel, each channel group that fills begins another range, and the steps at its seam are
simulated as they are; so are those around a length from which on attention is sparse. A window that is not made of whole pages
leaves a page behind in the middle of others, which the lines of a page do not show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from runtime.simulation.use_log import TimedUse, Use
from runtime.simulation.windows import DecodeWindows

TOLERANCE = 1e-3
"""Share of a step by which the middle of a range may be off the line before the range is halved."""
MOST_HALVINGS = 3
"""Of a range; drawn pages are never quite on a line."""
FEW_STEPS = 24
"""Steps up to which every one is simulated: a sample of them would take as long."""
_WARM_UP = 2
"""Steps after which micro-batches have found their rhythm."""


@dataclass(frozen=True)
class Seams:
    """Says where decode steps change by more than one page.

    Attributes:
        page_tokens: Tokens after which pages fill; None without drives.
        copy_tokens: Tokens after which channel pages fill; None without any.
        changes_from: Lengths from which on some attention is sparse, or tokens leave a window of the newest ones.
    """

    page_tokens: int | None
    copy_tokens: int | None
    changes_from: tuple[int, ...] = ()


def sum_decode(windows: DecodeWindows, first: int, last: int, seams: Seams) -> TimedUse:
    """Returns what the steps take after which sequences have ``first`` to ``last`` tokens, both included."""
    if last < first:
        return TimedUse(0.0, Use())
    if last - first < FEW_STEPS:
        return sum_steps((step, 1.0) for step in windows.run(range(first, last + 1)).values())
    sample = _Sample(windows, seams.page_tokens or 1, with_pages=seams.page_tokens is not None)
    return sample.sum(first, last, seams)


class _Sample:
    """Steps simulated so far, by their place in a page and by the pages that are full before them."""

    def __init__(self, windows: DecodeWindows, page: int, *, with_pages: bool) -> None:
        self._windows, self._page, self._with_pages = windows, page, with_pages
        self._lead = _WARM_UP if windows.overlap else 0
        self._places = sorted({0, 1, page // 2, page - 2, page - 1} & set(range(page)))

    def sum(self, first: int, last: int, seams: Seams) -> TimedUse:
        exact = self._exact(first, last, seams)
        parts = [(step, 1.0) for step in exact.values()]
        for begin, end in self._ranges(first, last, seams):
            lengths = np.array([n for n in range(begin, end + 1) if n not in exact])
            if lengths.size:
                least = 1 if begin == first and not self._is_seam(first, seams) else begin
                most = last + self._page + 1 if end == last else end
                parts += self._over(lengths, set(range(least, most + 1)) - exact.keys())
        return sum_steps(parts)

    def _exact(self, first: int, last: int, seams: Seams) -> dict[int, TimedUse]:
        """Returns the steps that are simulated as they are."""
        wanted: list[Sequence[int]] = []
        if self._windows.overlap:
            wanted.append(range(first, first + _WARM_UP + 1))
        if seams.copy_tokens is not None:
            filled = range(-(-first // seams.copy_tokens) * seams.copy_tokens, last + 1, seams.copy_tokens)
            wanted += [range(n, n + 2) for n in filled]
        for length in seams.changes_from:
            page = (length - 1) // self._page * self._page
            wanted.append(range(page + 1, page + self._page + 1))
        found: dict[int, TimedUse] = {}
        for lengths in wanted:
            begins_anew = lengths[0] == first
            steps = self._run(lengths, 0 if begins_anew else self._lead)
            found |= {n: s for n, s in steps.items() if first <= n <= last}
        return found

    def _ranges(self, first: int, last: int, seams: Seams) -> list[tuple[int, int]]:
        """Returns ranges of lengths, both ends included, over which steps change page by page alone."""
        size = seams.copy_tokens
        cuts = set(range(-(-first // size) * size + 1, last + 1, size)) if size is not None else set()
        for length in seams.changes_from:
            page = (length - 1) // self._page * self._page
            cuts |= {page + 1, page + self._page + 1}
        edges = sorted({first, *(c for c in cuts if first < c <= last), last + 1})
        return [(a, b - 1) for a, b in pairwise(edges)]

    def _is_seam(self, first: int, seams: Seams) -> bool:
        """Tells whether what comes before a length is unlike what follows."""
        return seams.copy_tokens is not None and (first - 1) % seams.copy_tokens < self._page

    def _over(self, lengths: np.ndarray, alike: set[int]) -> list[tuple[TimedUse, float]]:
        """Returns steps with weights that stand for those of a range.

        Args:
            lengths: Of the range, int64 ``[n]``, ascending.
            alike: Lengths whose steps are of the same kind, beyond the range, too.
        """
        at = self._sampled(int(lengths[0] - 1) // self._page, int(lengths[-1] - 1) // self._page, alike)
        found: list[tuple[TimedUse, float]] = []
        full, place = np.divmod(lengths - 1, self._page)
        for own, weight in self._by_place(place):
            if not weight.any():
                continue
            if not at[own]:
                return [(step, 1.0) for step in self._run(lengths.tolist(), self._lead).values()]
            known = np.array(sorted(at[own]))
            left, right, share = _between(known, full)
            totals = np.zeros(len(known))
            np.add.at(totals, left, weight * (1.0 - share))
            np.add.at(totals, right, weight * share)
            found += [(at[own][g], float(w)) for g, w in zip(known.tolist(), totals, strict=True)]
        return found

    def _by_place(self, place: np.ndarray) -> Iterable[tuple[int, np.ndarray]]:
        """Yields the places that were simulated, and how much each stands for every step."""
        known = np.array(self._places)
        left, right, share = _between(known, place)
        for number, own in enumerate(self._places):
            yield own, (left == number) * (1.0 - share) + ((right == number) & (right > left)) * share

    def _sampled(self, low: int, high: int, alike: set[int]) -> dict[int, dict[int, TimedUse]]:
        """Returns steps around the ends of pages, by place in a page and full pages before it.

        Args:
            low: Full pages before the first step.
            high: Those before the last one.
            alike: Lengths whose steps may be taken.
        """
        at: dict[int, dict[int, TimedUse]] = {place: {} for place in self._places}
        known: dict[int, float] = {}

        def seconds(group: int) -> float:
            if group not in known:
                steps = self._around(group)
                for length, step in steps.items():
                    full, place = divmod(length - 1, self._page)
                    if length in alike:
                        at[place][full] = step
                known[group] = sum(step.seconds for step in steps.values())
            return known[group]

        def halve(low: int, high: int, left: int) -> None:
            middle = (low + high) // 2
            if left == 0 or middle in (low, high):
                return
            expected = (seconds(low) * (high - middle) + seconds(high) * (middle - low)) / (high - low)
            if abs(seconds(middle) - expected) > TOLERANCE * expected:
                halve(low, middle, left - 1)
                halve(middle, high, left - 1)

        ends = high + self._with_pages
        seconds(low)
        seconds(ends)
        halve(low, ends, MOST_HALVINGS)
        return at

    def _around(self, group: int) -> Mapping[int, TimedUse]:
        """Returns the last two steps of a page, and two first ones and one in the middle of the next, after ``group`` pages."""
        length = group * self._page
        if not self._with_pages:
            return self._run((length + 1,), self._lead)
        steps = dict(self._run(range(length - 1, length + 3), self._lead))
        inside = length + self._page // 2 + 1
        return steps if inside in steps else steps | dict(self._run((inside,), self._lead))

    def _run(self, lengths: Sequence[int], lead: int) -> Mapping[int, TimedUse]:
        """Simulates steps, and others before them from which they take over."""
        first = max(1, lengths[0])
        warm = range(max(1, first - lead), first)
        steps = self._windows.run([*warm, *(n for n in lengths if n >= first)])
        return {n: steps[n] for n in lengths if n in steps}


def _between(known: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the places in ``known``, ascending, on whose line each wanted number is, and the share of the second one."""
    left = np.clip(np.searchsorted(known, wanted, side="right") - 1, 0, max(0, len(known) - 2))
    right = np.minimum(left + 1, len(known) - 1)
    return left, right, (wanted - known[left]) / np.maximum(1, known[right] - known[left])


def sum_steps(parts: Iterable[tuple[TimedUse, float]]) -> TimedUse:
    """Returns the sum of steps, each a number of times."""
    seconds, use = 0.0, Use()
    for step, weight in parts:
        seconds += weight * step.seconds
        use.add_all(step.use, weight)
    return TimedUse(seconds, use)
