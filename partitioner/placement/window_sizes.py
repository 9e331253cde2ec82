"""Sizes of the windows of newest tokens that host memory may keep of an attention on drives.

A drive has the tokens that are older than a window, none of short contexts: what it does in all steps together is convex in the
window, and layers with windows of one size are better off than a mixture of smaller and larger ones. So a few coarse sizes are
offered, and finer ones around the two at which all layers come to rest: windows of all layers that together fill host memory,
and windows with which host and drives take equally long.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

PARTS = 64
"""Sizes are so many parts of the longest context."""
COARSE = (8, 16, 24, 32, 40, 48)
"""Parts offered at any place where the caller takes them: eighths."""


def window_sizes(
    longest: int,
    page: int,
    room: float,
    coarse: Callable[[int], bool],
    host_takes_longer: Callable[[int], bool],
) -> tuple[int, ...]:
    """Returns the sizes offered, ascending, in tokens of whole pages.

    Args:
        longest: Tokens of the longest context.
        page: Tokens of a page.
        room: Tokens of every layer that host memory has room for.
        coarse: Tells whether a coarse size is offered.
        host_takes_longer: Tells of a size whether the host takes as long as the drives, or longer; larger ones are no quicker.
    """
    sizes = [longest * part // PARTS // page * page for part in range(PARTS)]
    full = min(PARTS - 1, int(PARTS * room / longest))
    even = bisect_left(sizes, True, key=lambda size: size > 0 and host_takes_longer(size)) - 1
    found = {sizes[part] for part in COARSE if coarse(sizes[part])}
    found |= {size for part in (full, even) for size in sizes[part : part + 2]}
    return tuple(sorted(found - {0}))
