"""Where pages, and tokens in them, lie in this machine's memory."""

from typing import NamedTuple

import numpy as np

from runtime.kernels.compiling import inner


class Pages(NamedTuple):
    """What a kernel needs to find a page and its flash channel; a tuple, because the compiler knows those.

    Attributes:
        pages_per_block: See :class:`runtime.csd.geometry.Geometry`.
        pages_per_channel: Likewise.
        page_bytes: Likewise.
        slot: See :class:`runtime.csd.nand.PageView`.
        frames: Likewise.
        chunk_addresses: Likewise.
        shift: Likewise.
    """

    pages_per_block: int
    pages_per_channel: int
    page_bytes: int
    slot: np.ndarray
    frames: np.ndarray
    chunk_addresses: np.ndarray
    shift: int


@inner
def page_address(page: int, pages: Pages) -> int:
    """Returns where the bytes of a physical page start in memory."""
    block = page // pages.pages_per_block
    frame = np.int64(pages.frames[pages.slot[block], page - block * pages.pages_per_block])
    return pages.chunk_addresses[frame >> pages.shift] + (frame & ((1 << pages.shift) - 1)) * pages.page_bytes


@inner
def list_tokens(address: int, count: int, token_bytes: int, addresses: np.ndarray) -> None:
    """Writes the addresses of ``count`` tokens that lie one after the other from ``address`` on."""
    for t in range(count):
        addresses[t] = address + t * token_bytes
