"""What the drive answers."""

from dataclasses import dataclass
from typing import Any

from runtime.csd.address import AddressLayout
from runtime.csd.busy_shares import BusyShares
from runtime.csd.task import Task


@dataclass(frozen=True)
class CommandDetail:
    """What one command did.

    Attributes:
        pages_read: Pages read from flash for the command's result.
        bytes_read: Their bytes.
        background_pages_read: Pages that the drive read for its own use behind the command, to keep K by channel.
        pages_programmed: Pages programmed, background flushes included.
        bytes_programmed: Their bytes.
        read_retries: Page reads that were repeated, background reads included; not counted in ``pages_read``.
        pages_step_one: Pages that sparse attention read to choose tokens, among ``pages_read``.
        pages_step_two: Pages that it read of chosen tokens, likewise.
        entries_bytes: Bytes in both that passed the filters.
        channel_s: Emulated seconds that the busiest channel carried what the command reads or writes.
        engine_s: Emulated seconds of the engine.
        compute_s: Real seconds that this machine took to work the values out.
    """

    pages_read: int = 0
    bytes_read: int = 0
    background_pages_read: int = 0
    pages_programmed: int = 0
    bytes_programmed: int = 0
    read_retries: int = 0
    pages_step_one: int = 0
    pages_step_two: int = 0
    entries_bytes: int = 0
    channel_s: float = 0.0
    engine_s: float = 0.0
    compute_s: float = 0.0


@dataclass(frozen=True)
class Completion:
    """The end of a command.

    Attributes:
        value: The command's result, or None.
        start_s: When the command arrived.
        end_s: When the drive is done with it, by the mechanism.
        detail: What it did.
    """

    value: Any
    start_s: float
    end_s: float
    detail: CommandDetail


@dataclass(frozen=True)
class TaskIdentity:
    """One task of a drive.

    Attributes:
        task: Shape of its cache, and its number.
        addresses: How its pages are named in their spare areas.
        reserved_bytes: Bytes of the blocks that it reserved.
    """

    task: Task
    addresses: AddressLayout
    reserved_bytes: int


@dataclass(frozen=True)
class Identity:
    """What a drive is.

    Attributes:
        name: The drive's name.
        capacity_bytes: Bytes of all pages.
        page_bytes: Bytes of a page.
        channels: Flash channels.
        units: Planes, which read and program by themselves.
        blocks: Blocks.
        pages_per_block: Pages in a block.
        rated_pe_cycles: Erases that a block is rated for.
        dram_bytes: Bytes of drive memory.
        has_engine: False for a plain SSD.
        backing: Where this machine keeps the pages: ``memory``, ``file, direct``, ``file, page cache dropped`` or
            ``nowhere``.
        tasks: The configured tasks, by number.
    """

    name: str
    capacity_bytes: int
    page_bytes: int
    channels: int
    units: int
    blocks: int
    pages_per_block: int
    rated_pe_cycles: int
    dram_bytes: float
    has_engine: bool
    backing: str
    tasks: tuple[TaskIdentity, ...]


@dataclass(frozen=True)
class HealthReport:
    """Counters since the drive was made, and its state.

    Attributes:
        pages_read: Pages read.
        pages_programmed: Pages programmed.
        blocks_erased: Blocks erased.
        bytes_written_by_host: Bytes of keys and values that commands brought.
        bytes_due: The same, each times the copies that its layer keeps: 1, or 1.5 where K is kept by channel too.
        bytes_programmed: Bytes of the pages programmed.
        wear_min: Erases of the least worn block.
        wear_mean: Erases of a block on average.
        wear_max: Erases of the most worn block.
        capacity_bytes: Bytes of all pages.
        free_bytes: Bytes of pages that can be programmed without an erase.
        valid_bytes: Bytes of pages that hold something.
        reserved_bytes: Bytes of the blocks that tasks reserved or hold.
        dram_buffer_bytes: Drive memory of the tasks' group buffers.
        dram_mapping_bytes: Drive memory of their mapping tables.
        dram_value_sum_bytes: Drive memory of their sums of V.
        buffered_tokens: Tokens (of one layer of one sequence) that wait in the group buffer.
        buffered_bytes: Their bytes.
        channel_busy_s: Emulated busy seconds of each channel.
        program_busy_s: Emulated busy seconds of the dies behind each channel, programming and erasing.
        engine_busy_s: Emulated busy seconds of the engine.
        busy_shares: Shares of the time since a cache was last configured in which these were busy.
        pages_scanned: Pages that the scan read back.
        checksum_errors: Pages that failed their checksum.
        misdirected_pages: Pages whose spare area names another place than the mapping that led to them.
        read_retries: Page reads that were repeated, each repetition counted.
        uncorrectable_pages: Pages whose data was lost.
        program_failures: Pages that could not be programmed where they should have been, and went elsewhere.
        retired_blocks: Blocks that hold nothing any more: worn out, or after a fault.
        pages_step_one: Pages that sparse attention read to choose tokens.
        pages_step_two: Pages that it read of chosen tokens.
        entries_bytes: Bytes in both that passed the filters.
    """

    pages_read: int
    pages_programmed: int
    blocks_erased: int
    bytes_written_by_host: int
    bytes_due: int
    bytes_programmed: int
    wear_min: int
    wear_mean: float
    wear_max: int
    capacity_bytes: int
    free_bytes: int
    valid_bytes: int
    reserved_bytes: int
    dram_buffer_bytes: int
    dram_mapping_bytes: int
    dram_value_sum_bytes: int
    buffered_tokens: int
    buffered_bytes: int
    channel_busy_s: tuple[float, ...]
    program_busy_s: tuple[float, ...]
    engine_busy_s: float
    busy_shares: BusyShares
    pages_scanned: int
    checksum_errors: int
    misdirected_pages: int
    read_retries: int
    uncorrectable_pages: int
    program_failures: int
    retired_blocks: int
    pages_step_one: int
    pages_step_two: int
    entries_bytes: int

    @property
    def retries_per_page_read(self) -> float:
        """Repetitions for each page read; 0 while nothing was read."""
        return self.read_retries / self.pages_read if self.pages_read else 0.0

    @property
    def write_amplification(self) -> float:
        """Bytes programmed for each byte that the host wrote; 1 while nothing was written.

        Tokens that still wait in the group buffer count as written and not as programmed. Layers that keep K
        by channel too have 1.5 by design.
        """
        return self.bytes_programmed / self.bytes_written_by_host if self.bytes_written_by_host else 1.0

    @property
    def placed_amplification(self) -> float:
        """Bytes programmed for each byte that the copies of what the host wrote take: 1 unless something is moved.

        Below 1 while tokens wait for their page or their channel group.
        """
        return self.bytes_programmed / self.bytes_due if self.bytes_due else 1.0

    @property
    def utilisation(self) -> float:
        """Share of the flash that holds something, between 0 and 1."""
        return self.valid_bytes / self.capacity_bytes

    @property
    def buffer_fill(self) -> float:
        """Share of the group buffers in which tokens wait, from 0 to 1."""
        return self.buffered_bytes / self.dram_buffer_bytes if self.dram_buffer_bytes else 0.0
