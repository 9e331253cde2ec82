"""Runs a kernel on all cores over the pages that it attends to, where they lie in memory or are staged from a file."""

from collections.abc import Callable

import numpy as np

from runtime.core_threads import PARTS_PER_CORE, cut_work, run_parts, team_for
from runtime.csd.nand import NandArray
from runtime.csd.page_pieces import AttendedPages, CandidatePages
from runtime.csd.pages import pages_of
from runtime.kernels.addresses import Pages
from runtime.kernels.thread_team import ALONE


def cut_staged(nand: NandArray, tokens: np.ndarray, num_heads: int, bytes_per_token: int) -> np.ndarray:
    """Cuts work as :func:`runtime.core_threads.cut_work` does; of pages in a file, each core reads one long part."""
    parts_per_core = PARTS_PER_CORE if nand.arena.stage_pages is None else 1
    return cut_work(tokens, num_heads, bytes_per_token, parts_per_core)


def attend_staged(
    nand: NandArray,
    edges: np.ndarray,
    read: Callable[[], AttendedPages | CandidatePages],
    attend: Callable[[np.ndarray, np.ndarray, Pages, slice], None],
) -> None:
    """Attends to parts of (sequence, KV head) pairs side by side.

    Args:
        nand: The pages.
        edges: Where parts begin and the last one ends, int64 ``[parts + 1]``.
        read: Gives the pages that are read; called where they have to be staged.
        attend: Attends with a team of threads to some parts, int64 ``[those + 1]``, of pages that lie where it is told; the
            last argument says which of all parts these are.
    """
    most_pages = nand.arena.stage_pages
    if most_pages is None:
        attend(team_for(edges), edges, pages_of(nand.geometry, nand.view()), slice(None))
        return
    pages = read()

    def run(part: int) -> None:
        pieces = pages.pieces(int(edges[part]), int(edges[part + 1]), most_pages)
        for piece, view in zip(pieces, nand.staged(pages.sets(pieces)), strict=True):
            attend(ALONE, np.array(piece), pages_of(nand.geometry, view), slice(part, part + 1))

    run_parts(run, len(edges) - 1)
