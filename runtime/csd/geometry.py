"""Where a physical page is: channel, die, plane, block, page."""

from dataclasses import dataclass

import numpy as np

from cost_models.hardware import FlashSpec
from runtime.csd.errors import DriveError


@dataclass(frozen=True)
class PageAddress:
    """Coordinates of one physical page, each counted inside the coordinate before it."""

    channel: int
    die: int
    plane: int
    block: int
    page: int


@dataclass(frozen=True)
class Geometry:
    """The shape of the NAND array and its numbering.

    Pages are numbered in the order of :class:`PageAddress`, the page inside a block running fastest, so
    ``ppn // pages_per_block`` is a block number and ``ppn // pages_per_channel`` a channel.

    A *unit* is one plane: the smallest part that reads or programs by itself. Units are numbered with the
    channel running fastest, so consecutive units are on consecutive channels.
    """

    channels: int
    dies_per_channel: int
    planes_per_die: int
    blocks_per_plane: int
    pages_per_block: int
    page_bytes: int

    def __post_init__(self) -> None:
        if self.page_bytes % 4:
            raise DriveError(
                f"page_bytes is {self.page_bytes}; pages hold 16- and 32-bit elements: use a multiple of 4"
            )

    @classmethod
    def of(cls, flash: FlashSpec) -> "Geometry":
        """Returns the geometry of a flash description."""
        return cls(
            channels=flash.channels,
            dies_per_channel=flash.dies_per_channel,
            planes_per_die=flash.planes_per_die,
            blocks_per_plane=flash.blocks_per_plane,
            pages_per_block=flash.pages_per_block,
            page_bytes=flash.page_bytes,
        )

    @property
    def units_per_channel(self) -> int:
        """Planes behind one channel."""
        return self.dies_per_channel * self.planes_per_die

    @property
    def num_units(self) -> int:
        """Planes in the drive."""
        return self.channels * self.units_per_channel

    @property
    def num_blocks(self) -> int:
        """Blocks in the drive."""
        return self.num_units * self.blocks_per_plane

    @property
    def pages_per_channel(self) -> int:
        """Pages behind one channel."""
        return self.units_per_channel * self.blocks_per_plane * self.pages_per_block

    @property
    def num_pages(self) -> int:
        """Pages in the drive."""
        return self.channels * self.pages_per_channel

    @property
    def capacity_bytes(self) -> int:
        """Bytes of all pages."""
        return self.num_pages * self.page_bytes

    def ppn(self, address: PageAddress) -> int:
        """Returns the physical page number of an address.

        Raises:
            DriveError: A coordinate is outside of the array.
        """
        limits = (
            ("channel", address.channel, self.channels),
            ("die", address.die, self.dies_per_channel),
            ("plane", address.plane, self.planes_per_die),
            ("block", address.block, self.blocks_per_plane),
            ("page", address.page, self.pages_per_block),
        )
        number = 0
        for name, value, limit in limits:
            if not 0 <= value < limit:
                raise DriveError(f"{name} {value} does not exist; this drive has {name}s 0 to {limit - 1}")
            number = number * limit + value
        return number

    def address(self, ppn: int) -> PageAddress:
        """Returns the coordinates of a physical page number.

        Raises:
            DriveError: There is no such page.
        """
        if not 0 <= ppn < self.num_pages:
            raise DriveError(f"page number {ppn} does not exist; this drive has 0 to {self.num_pages - 1}")
        rest, page = divmod(ppn, self.pages_per_block)
        rest, block = divmod(rest, self.blocks_per_plane)
        rest, plane = divmod(rest, self.planes_per_die)
        channel, die = divmod(rest, self.dies_per_channel)
        return PageAddress(channel, die, plane, block, page)

    def pages_by_channel(self, ppns: np.ndarray) -> np.ndarray:
        """Counts page numbers per channel.

        Args:
            ppns: Page numbers, any shape.

        Returns:
            int64 ``[channels]``.
        """
        return np.bincount(ppns.reshape(-1) // self.pages_per_channel, minlength=self.channels)

    def blocks_by_channel(self, blocks: np.ndarray) -> np.ndarray:
        """Counts block numbers per channel.

        Args:
            blocks: Block numbers ``[n]``.

        Returns:
            int64 ``[channels]``.
        """
        return np.bincount(
            blocks // (self.units_per_channel * self.blocks_per_plane), minlength=self.channels
        )

    def first_block(self, unit: int) -> int:
        """Returns the number of the first block of a unit."""
        plane, channel = divmod(unit, self.channels)
        return (channel * self.units_per_channel + plane) * self.blocks_per_plane

    def unit_of(self, block: int) -> int:
        """Returns the unit that a block belongs to."""
        channel, plane = divmod(block // self.blocks_per_plane, self.units_per_channel)
        return plane * self.channels + channel
