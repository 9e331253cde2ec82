"""Where pages end up when some of their programs fail."""

from dataclasses import dataclass

import numpy as np

from runtime.csd.block_share import BlockShare
from runtime.csd.errors import CapacityError
from runtime.csd.nand import NandArray
from runtime.csd.open_blocks import OpenBlocks


@dataclass(frozen=True, eq=False)
class PlacedPages:
    """What becomes of pages that are to be programmed.

    Attributes:
        ppns: Where each one ends up, int64 ``[n]``.
        spoiled: Pages of flash whose programs fail on the way, int64 ``[m]``, at most one in a block.
        tried: Which of the ``n`` pages each of them was meant for, int64 ``[m]``.
    """

    ppns: np.ndarray
    spoiled: np.ndarray
    tried: np.ndarray


def place_pages(
    nand: NandArray, share: BlockShare, open_blocks: OpenBlocks, places: np.ndarray
) -> PlacedPages:
    """Allocates pages, and others for those whose programs will fail.

    A block is closed at its first program that fails and takes no page behind it; it is condemned. All of it is decided
    before the first program, so that a flash that runs full on the way has not been written to.

    Args:
        nand: Asked which programs fail.
        share: The task's blocks.
        open_blocks: Where the pages go.
        places: Place of each page, int64 ``[n]``.

    Raises:
        CapacityError: No erased block is left where one is needed; nothing has changed.
    """
    pages_per_block = nand.geometry.pages_per_block
    before = open_blocks.state() if nand.faults.faults.program_failure_per_page else None
    ppns = open_blocks.allocate(places)
    untried = np.arange(len(ppns))
    spoiled, tried, reached = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [ppns // pages_per_block]
    while (failed := untried[nand.faults.failed_programs(len(untried))]).size:
        failed = failed[np.argsort(ppns[failed])]
        bad, at = np.unique(ppns[failed] // pages_per_block, return_index=True)
        first = ppns[failed[at]]
        spoiled.append(first)
        tried.append(failed[at])
        open_blocks.close(bad)
        position = np.minimum(np.searchsorted(bad, ppns[untried] // pages_per_block), len(bad) - 1)
        behind = (ppns[untried] // pages_per_block == bad[position]) & (ppns[untried] >= first[position])
        untried = untried[behind]
        try:
            ppns[untried] = open_blocks.allocate(places[untried])
        except CapacityError:
            assert before is not None
            open_blocks.restore(before)
            taken = np.unique(np.concatenate(reached))
            for block in taken[nand.next_page[taken] == 0].tolist():
                share.give(block, int(nand.wear[block]))
            raise
        reached.append(ppns[untried] // pages_per_block)
    share.condemn(np.concatenate(spoiled) // pages_per_block)
    return PlacedPages(ppns, np.concatenate(spoiled), np.concatenate(tried))
