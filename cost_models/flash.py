"""Closed forms for a drive: reading, programming, and attention next to the flash.

Pages are spread evenly over the channels. On one channel, dies sense pages while others transfer, so the
first sense alone is exposed; where the dies together are slower than the channel, they set the pace instead.

One attention command covers one layer. Letters: ``batch`` sequences, ``kv_heads`` key-value heads, each
shared by ``group_size`` query heads of ``head_size`` elements, over ``context_len`` cached tokens, or the newest ``window``
of them.
"""

import math

from cost_models.checks import require_count, require_non_negative
from cost_models.components import DriveSpec, EngineSpec, FlashSpec
from cost_models.cost import Cost, slowest, with_overhead
from cost_models.errors import HardwareError


def flash_read_cost(
    drive: DriveSpec, num_bytes: float | None = None, *, num_pages: int | None = None
) -> Cost:
    """Returns the time to read bytes (rounded up to pages) or pages from flash to the drive's controller."""
    pages = _pages_per_channel(drive.flash, num_bytes, num_pages)
    return Cost(_read_s(drive.flash, pages), "flash")


def flash_write_cost(
    drive: DriveSpec, num_bytes: float | None = None, *, num_pages: int | None = None
) -> Cost:
    """Returns the time to program bytes (rounded up to pages) or pages that the drive's controller holds."""
    pages = _pages_per_channel(drive.flash, num_bytes, num_pages)
    return Cost(_program_s(drive.flash, pages), "flash")


def tokens_per_page(flash: FlashSpec, head_size: int, kv_bytes_per_element: float) -> int:
    """Returns how many tokens of one head fill a page (16 for 128 x float16 in 4 KiB).

    Raises:
        HardwareError: Not even one token of a head fits in a page.
    """
    require_count("head_size", head_size)
    tokens = int(flash.page_bytes // (head_size * kv_bytes_per_element))
    if tokens < 1:
        raise HardwareError(
            f"a page of {flash.page_bytes} B cannot hold one token of a head: {head_size} elements x "
            f"{kv_bytes_per_element:g} B; give pages of at least that size"
        )
    return tokens


def attend_pages(
    drive: DriveSpec,
    *,
    batch: int,
    kv_heads: int,
    head_size: int,
    context_len: int,
    kv_bytes_per_element: float,
    window: int | None = None,
    newer: int = 0,
) -> int:
    """Returns the pages of K and V that dense attention reads; the group still being filled is in DRAM.

    Of a window of the newest tokens, pages count that hold any of them. It counts from the newest of all tokens, of which the
    ``newer`` ones are elsewhere.
    """
    tokens = tokens_per_page(drive.flash, head_size, kv_bytes_per_element)
    first = oldest_token(context_len, window, newer)
    return _whole_pages(batch * kv_heads, context_len, first, tokens)


def _whole_pages(num_heads: int, context_len: int, first: int, group: int) -> int:
    """Returns the pages of K and V that hold tokens from ``first`` on; tokens that do not fill one have none."""
    return 2 * num_heads * (context_len // group - first // group)


def oldest_token(context_len: int, window: int | None, newer: int = 0) -> int:
    """Returns the oldest token that a window of the newest ones reaches; None reaches all.

    The window counts from the newest of all tokens, of which the last ``newer`` ones are not among the ``context_len``.
    """
    if window is None:
        return 0
    require_count("window", window)
    return max(0, min(context_len, context_len + newer - window))


def attend_cost(
    drive: DriveSpec,
    *,
    batch: int,
    kv_heads: int,
    group_size: int,
    head_size: int,
    context_len: int,
    kv_bytes_per_element: float,
    window: int | None = None,
    newer: int = 0,
    appended_tokens: int = 1,
) -> Cost:
    """Returns the time of dense decode attention of one layer inside a drive, links left aside.

    The flash reads full groups page by page, the DRAM gives the tokens of the group being filled, and the
    engine takes both in and computes ``q.K`` and ``p.V`` at 2 FLOP per multiply-add; softmax is a pipeline
    stage of the engine. All overlap, so the slowest counts, after the command and the pipeline's filling.

    Args:
        drive: The drive.
        batch: See above.
        kv_heads: Likewise.
        group_size: Likewise.
        head_size: Likewise.
        context_len: Likewise.
        kv_bytes_per_element: Bytes of an element of K or V.
        window: Newest tokens that are attended to; None: all.
        newer: Tokens behind these that are elsewhere; the window counts from the newest of all.
        appended_tokens: Of the newest ones, those that come with the command.

    Raises:
        HardwareError: The drive has no engine, or a count is not accepted.
    """
    engine = drive.engine
    if engine is None:
        raise HardwareError("this drive has no engine and cannot attend; read its KV cache instead")
    for name, value in (("batch", batch), ("kv_heads", kv_heads), ("context_len", context_len)):
        require_count(name, value, minimum=0)
    require_count("group_size", group_size)
    group = tokens_per_page(drive.flash, head_size, kv_bytes_per_element)
    first = oldest_token(context_len, window, newer)
    pages = _whole_pages(batch * kv_heads, context_len, first, group)
    attended = context_len - first
    buffered_tokens = min(attended, context_len % group)
    buffered_bytes = 2 * batch * kv_heads * buffered_tokens * head_size * kv_bytes_per_element
    flops = attend_flops(batch, kv_heads, group_size, head_size, attended)
    read = flash_read_cost(drive, num_pages=pages)
    appended_bytes = 2 * batch * kv_heads * appended_tokens * head_size * kv_bytes_per_element
    page_bytes = pages * drive.flash.page_bytes
    return pipelined_cost(drive, engine, read, flops, page_bytes, buffered_bytes, appended_bytes)


def attend_flops(batch: int, kv_heads: int, group_size: int, head_size: int, context_len: int) -> float:
    """Returns the floating-point operations of dense attention, 2 per multiply-add: ``q.K`` and ``p.V``."""
    return 4.0 * batch * kv_heads * group_size * head_size * context_len


def pipelined_cost(
    drive: DriveSpec,
    engine: EngineSpec,
    read: Cost,
    flops: float,
    page_bytes: float,
    buffered_bytes: float,
    appended_bytes: float,
) -> Cost:
    """Returns the time of an attention whose pages stream through the engine while it computes.

    Args:
        drive: The drive.
        engine: Its engine.
        read: What reading the pages takes.
        flops: Floating-point operations.
        page_bytes: Bytes of the pages.
        buffered_bytes: Bytes of the tokens that are in drive memory.
        appended_bytes: Bytes of the new token, which goes to drive memory first.
    """
    first_s = drive.flash.t_read_s if page_bytes else 0.0  # the engine begins with the first page
    compute_s = first_s + flops / engine.flops
    engine_s = first_s + (page_bytes + buffered_bytes) / engine.bytes_per_s
    memory_s = max(engine_s, (buffered_bytes + appended_bytes) / drive.dram_bytes_per_s)
    overhead_s = engine.setup_s + drive.command_s
    if read.seconds >= max(compute_s, memory_s):
        return with_overhead(read.seconds, read.bound, overhead_s)
    if compute_s >= memory_s:
        return with_overhead(compute_s, "compute", overhead_s)
    return with_overhead(memory_s, "memory", overhead_s)


def kv_append_cost(
    drive: DriveSpec,
    *,
    batch: int,
    kv_heads: int,
    head_size: int,
    kv_bytes_per_element: float,
    num_tokens: int = 1,
) -> Cost:
    """Returns the background time per layer to keep new K and V: into DRAM, and full groups out to flash.

    Groups fill at different steps for different sequences, so the cost is the average: the tokens' share of
    their pages at the program rate. It overlaps with reads of other steps.
    """
    for name, value in (("batch", batch), ("kv_heads", kv_heads), ("num_tokens", num_tokens)):
        require_count(name, value, minimum=0)
    group = tokens_per_page(drive.flash, head_size, kv_bytes_per_element)
    num_rows = 2 * batch * kv_heads * num_tokens
    buffer = Cost(num_rows * head_size * kv_bytes_per_element / drive.dram_bytes_per_s, "memory")
    program = Cost(num_rows / group * drive.flash.page_bytes / drive.flash.program_bytes_per_s, "flash")
    return slowest((program, buffer))


def _pages_per_channel(flash: FlashSpec, num_bytes: float | None, num_pages: int | None) -> int:
    """Returns the pages on the fullest channel, from exactly one of bytes and pages."""
    if (num_bytes is None) == (num_pages is None):
        raise HardwareError("give either num_bytes or num_pages, and not both")
    if num_pages is None:
        assert num_bytes is not None
        require_non_negative("num_bytes", num_bytes)
        num_pages = math.ceil(num_bytes / flash.page_bytes)
    require_count("num_pages", num_pages, minimum=0)
    return math.ceil(num_pages / flash.channels)


def _read_s(flash: FlashSpec, pages: int) -> float:
    """Reads pages of one channel: limited by its wires after the first sense, or by its dies."""
    if pages == 0:
        return 0.0
    page_s = flash.page_bytes / flash.channel_bytes_per_s
    senses = math.ceil(pages / (flash.dies_per_channel * flash.planes_per_die))
    return max(flash.t_read_s + pages * page_s, senses * flash.t_read_s + page_s)


def _program_s(flash: FlashSpec, pages: int) -> float:
    """Takes in pages of one channel: limited by its wires, or after the first page by the rate of its planes.

    A drive's memory is protected against power loss, so a write is done when its pages are taken in; the last of them may
    still be on their way into the cells.
    """
    if pages == 0:
        return 0.0
    page_s = flash.page_bytes / flash.channel_bytes_per_s
    planes = flash.dies_per_channel * flash.planes_per_die
    return max(pages * page_s, page_s + pages * flash.t_program_s / planes)
