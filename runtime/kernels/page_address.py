"""Where a page lies in this machine's memory."""

import numpy as np

from runtime.kernels.compiling import inner


@inner
def page_address(
    ppn: int, pages_per_block: int, page_bytes: int, slot: np.ndarray, frames: np.ndarray,
    chunk_addresses: np.ndarray, shift: int,
) -> int:  # fmt: skip
    """Returns where the bytes of a physical page start in memory."""
    block = ppn // pages_per_block
    frame = np.int64(frames[slot[block], ppn - block * pages_per_block])
    return chunk_addresses[frame >> shift] + (frame & ((1 << shift) - 1)) * page_bytes
