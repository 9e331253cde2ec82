"""The blocks that a task is writing into: where the next page goes."""

import numpy as np

from runtime.csd.block_share import BlockShare
from runtime.csd.geometry import Geometry


class OpenBlocks:
    """At most one open block for each place, which is a stream of pages in a unit: ``stream * num_units + unit``."""

    def __init__(self, geometry: Geometry, share: BlockShare, num_streams: int) -> None:
        self._geometry = geometry
        self._share = share
        places = num_streams * geometry.num_units
        self._block = np.full(places, -1, np.int64)
        self._fill = np.full(places, geometry.pages_per_block, np.int64)

    def allocate(self, places: np.ndarray) -> np.ndarray:
        """Returns the next page of each open block, opening blocks as they fill.

        Args:
            places: int64 ``[n]``.

        Returns:
            Page numbers, int64 ``[n]``.

        Raises:
            CapacityError: No erased block is left where one is needed; nothing has changed.
        """
        geometry = self._geometry
        order = np.argsort(places, kind="stable")
        place = places[order]
        index = np.arange(len(place))
        starts = np.concatenate([[True], place[1:] != place[:-1]])
        rank = index - np.maximum.accumulate(np.where(starts, index, 0))
        turn, page = np.divmod(self._fill[place] + rank, geometry.pages_per_block)
        block = self._block[place]
        beyond = turn > 0
        if beyond.any():
            opened, inverse = np.unique(np.stack([place[beyond], turn[beyond]]), axis=1, return_inverse=True)
            block[beyond] = self._share.take(opened[0] % geometry.num_units)[inverse.reshape(-1)]
        ends = np.concatenate([starts[1:], [True]])
        self._block[place[ends]] = block[ends]
        self._fill[place[ends]] = page[ends] + 1
        ppns = np.empty(len(place), np.int64)
        ppns[order] = block * geometry.pages_per_block + page
        return ppns

    def close(self, blocks: np.ndarray, stream: int | None = None) -> None:
        """Closes those of ``blocks``, int64 ``[n]``, that are open: anywhere, or in one stream where that is known."""
        if stream is None:
            closed = np.flatnonzero(np.isin(self._block, blocks))
        else:
            units = np.array([self._geometry.unit_of(block) for block in blocks.tolist()], np.int64)
            places = stream * self._geometry.num_units + units
            closed = places[self._block[places] == blocks]
        self._block[closed] = -1
        self._fill[closed] = self._geometry.pages_per_block

    def state(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns what :meth:`restore` takes back."""
        return self._block.copy(), self._fill.copy()

    def restore(self, state: tuple[np.ndarray, np.ndarray]) -> None:
        """Opens again what was open then, as full as it was; blocks taken since are the caller's to give back."""
        self._block, self._fill = state
