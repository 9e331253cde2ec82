"""Sizes of the windows of newest tokens that host memory may keep of an attention on drives.

A drive has the tokens that are older than a window, none of short contexts: what it does in all steps together is convex in the
window, and layers with windows of one size are better off than a mixture of smaller and larger ones. So a few sizes are offered
throughout, and finer ones near those two at which all layers come to rest: windows of all layers that together fill host memory,
and windows with which host and drives take equally long.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

PARTS = 64
"""Sizes are so many parts of the longest context."""
COARSE = (8, 16, 24, 32, 40, 48)
"""Parts offered throughout."""
NEAR = (-1, 0, 1, 2)
"""Parts offered near the last one that is small enough."""


def window_sizes(
    longest: int, page: int, room: float, host_takes_longer: Callable[[int], bool]
) -> tuple[int, ...]:
    """Returns the sizes offered, ascending, in tokens of whole pages.

    Args:
        longest: Tokens of the longest context.
        page: Tokens of a page.
        room: Tokens of every layer that host memory has room for.
        host_takes_longer: Tells of a size above 0 whether the host takes at least as long as the drives; with larger ones it does, too.
    """
    sizes = [longest * part // PARTS // page * page for part in range(PARTS)]
    full = min(PARTS - 1, int(PARTS * room / longest))
    even = bisect_left(sizes, True, key=lambda size: size > 0 and host_takes_longer(size)) - 1
    parts = {*COARSE, *(last + near for last in (full, even) for near in NEAR)}
    return tuple(sorted({sizes[part] for part in parts if 0 <= part < PARTS} - {0}))
