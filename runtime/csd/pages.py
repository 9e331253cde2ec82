"""Where the pages of a drive lie, in the form that kernels take."""

import numpy as np

from runtime.csd.geometry import Geometry
from runtime.csd.nand import PageView
from runtime.kernels.addresses import Pages


def pages_of(geometry: Geometry, view: PageView) -> Pages:
    """Returns where the pages of an array lie; good as long as the view is."""
    return Pages(
        geometry.pages_per_block, geometry.pages_per_channel, geometry.page_bytes,
        view.slot, view.frames, view.chunk_addresses, view.shift,
    )  # fmt: skip


def no_pages() -> Pages:
    """Returns pages of the right types, for compiling."""
    return Pages(1, 1, 1, np.zeros(1, np.int32), np.zeros((1, 1), np.int32), np.zeros(1, np.int64), 0)
