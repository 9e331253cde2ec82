"""Where pages, and tokens in them, lie in this machine's memory."""

from typing import Any, NamedTuple

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
def quotient(number: int, divisor: int) -> int:
    """Returns ``number // divisor`` of numbers from 0 to 2**48, in less time than a processor divides 64 bits.

    A float64 is off by ``2**-53`` of itself at most, and half of one divisor-th keeps the result farther than that from whole
    numbers.
    """
    whole: Any = np.int64((np.float64(number) + 0.5) * (1.0 / np.float64(divisor)))
    return whole


@inner
def page_address(page: int, pages: Pages) -> int:
    """Returns where the bytes of a physical page start in memory."""
    block = quotient(page, pages.pages_per_block)
    slot = np.uint64(pages.slot[np.uint64(block)])  # unsigned: an index that may be negative takes longer
    frame = np.int64(pages.frames[slot, np.uint64(page - block * pages.pages_per_block)])
    chunk = np.uint64(frame >> pages.shift)
    return pages.chunk_addresses[chunk] + (frame & ((1 << pages.shift) - 1)) * pages.page_bytes


@inner
def list_tokens(address: int, count: int, token_bytes: int, addresses: np.ndarray) -> None:
    """Writes the addresses of ``count`` tokens that lie one after the other from ``address`` on."""
    for t in range(count):
        addresses[t] = address + t * token_bytes
