"""Closed forms for flash-aware sparse attention (SparF) inside a drive: expected pages, and the time of one command.

SparF (InstInfer, arXiv 2409.04992) reads, for each sequence and KV head, K of its r largest query channels over all S cached
tokens (step one), then K and V of the k tokens that step one finds likeliest (step two). K is stored by token and, a second
time, by channel: a channel page holds some channels of many consecutive tokens. A page is read if anything in it is wanted.

Which channels and tokens are wanted is not known before a model runs. Channels are taken to be drawn at random without return,
and tokens in clusters, since what is next to a likely token is likely too.

Letters: D head size, S context, ``pair`` one sequence and one KV head.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

from cost_models.checks import require_count, require_positive
from cost_models.components import DriveSpec, FlashSpec
from cost_models.cost import Cost
from cost_models.errors import HardwareError
from cost_models.flash import attend_cost, oldest_token, pipelined_cost, tokens_per_page

TOKENS_PER_CLUSTER = 2.4
"""Wanted tokens that count as one draw, beside the newest: InstInfer (arXiv 2409.04992) finds that pages with one of k = S/8
tokens hold about half of all tokens, with pages of 16 tokens; a quarter of k is taken to be the newest. The shipped model has
3.5 to 3.8 on 2048 tokens of held-out text (``benchmarks.sparf_pages``: 36.2 % of pages at k = S/8, 20.9 % at S/16), and about
2 on 600 tokens."""

CHANNEL_GROUPS = (2, 4, 8)
"""Channels that a channel page may hold (InstInfer, arXiv 2409.04992: 2 to 8 head channels of 256 to 1K tokens)."""


@dataclass(frozen=True, kw_only=True)
class SparseReads:
    """What sparse attention wants of one pair.

    Attributes:
        num_channels: r, query channels of step one.
        num_tokens: k, tokens of step two; the newest are among them.
        num_newest: Newest tokens that are always wanted.
        channel_group: Channels in a channel page.
        tokens_per_cluster: Wanted tokens that count as one draw, beside the newest.
    """

    num_channels: int
    num_tokens: int
    num_newest: int
    channel_group: int
    tokens_per_cluster: float = TOKENS_PER_CLUSTER

    def __post_init__(self) -> None:
        require_count("num_channels", self.num_channels)
        require_count("num_tokens", self.num_tokens)
        require_count("num_newest", self.num_newest, minimum=0)
        require_count("channel_group", self.channel_group)
        require_positive("tokens_per_cluster", self.tokens_per_cluster)


@dataclass(frozen=True)
class SparsePages:
    """Expected pages of one pair.

    Attributes:
        channel_pages: Pages of K by channel, in step one.
        tail_pages: Pages of K by token, in step one: tokens that are not in a channel page yet.
        token_pages: Pages of K and V by token, in step two; those of the tail are not read again.
        variance: Of the pages of both steps on one channel, as far as channels differ.
    """

    channel_pages: float
    tail_pages: float
    token_pages: float
    variance: float = 0.0

    @property
    def step_one(self) -> float:
        """Returns the pages of step one."""
        return self.channel_pages + self.tail_pages

    @property
    def total(self) -> float:
        """Returns the pages of both steps."""
        return self.step_one + self.token_pages


def channel_page_tokens(
    flash: FlashSpec, head_size: int, kv_bytes_per_element: float, channel_group: int
) -> int:
    """Returns how many tokens of one head a channel page holds (256 for 8 channels of float16 in 4 KiB).

    Raises:
        HardwareError: The group does not divide the head, or not even one token fits.
    """
    if head_size % channel_group:
        raise HardwareError(
            f"channel_group = {channel_group} does not divide the head size {head_size}; give one of {CHANNEL_GROUPS} that does"
        )
    tokens = int(flash.page_bytes // (channel_group * kv_bytes_per_element))
    if tokens < 1:
        raise HardwareError(
            f"a page of {flash.page_bytes} B cannot hold {channel_group} channels of one token; give larger pages"
        )
    return tokens


def channel_pages(
    flash: FlashSpec, head_size: int, kv_bytes_per_element: float, channel_group: int, tokens: int
) -> int:
    """Returns the pages that the second copy of K of one pair takes: whole groups of tokens alone are copied."""
    per_page = channel_page_tokens(flash, head_size, kv_bytes_per_element, channel_group)
    return tokens // per_page * (head_size // channel_group)


def sparse_pages(
    flash: FlashSpec,
    *,
    head_size: int,
    context_len: int,
    kv_bytes_per_element: float,
    reads: SparseReads,
    window: int | None = None,
) -> SparsePages:
    """Returns the expected pages that sparse attention of one pair reads.

    ``num_tokens`` must be less than the context, or than the newest ``window`` tokens of it, among which they are chosen.
    """
    first = oldest_token(context_len, window)
    group = tokens_per_page(flash, head_size, kv_bytes_per_element)
    copied = channel_page_tokens(flash, head_size, kv_bytes_per_element, reads.channel_group)
    in_pages = context_len // group * group
    by_channel = in_pages // copied * copied
    every = in_pages // group - first // group
    tail_groups = in_pages // group - max(by_channel, first) // group
    num_groups = head_size // reads.channel_group
    touched = num_groups * (1 - _missed(head_size, reads.channel_group, min(reads.num_channels, head_size)))
    newest = max(0, min(reads.num_newest, context_len) - (context_len - in_pages))
    newest_pages = math.ceil(newest / group)
    drawn = max(0, min(reads.num_tokens, context_len) - reads.num_newest) / reads.tokens_per_cluster
    among = max(0, context_len - first - reads.num_newest)
    hit = 1 - _missed(among, group, drawn) if among else 0.0

    def wanted(pages: int) -> float:
        certain = min(newest_pages, pages)
        return certain + (pages - certain) * hit

    read_before = wanted(tail_groups)
    by_channel_groups = max(0, by_channel // copied - first // copied)
    token_pages = 2 * wanted(every) - read_before
    uncertain = max(0.0, token_pages - 2 * min(newest_pages, every) + min(newest_pages, tail_groups))
    # a lane by channel fills all channels alike but for what is left over by whole turns
    rest = by_channel_groups % flash.channels / flash.channels
    variance = touched * (1 - touched / num_groups) * rest + uncertain * (1 - hit) / flash.channels
    return SparsePages(touched * by_channel_groups, tail_groups, token_pages, variance)


def sparse_attend_cost(
    drive: DriveSpec,
    *,
    batch: int,
    kv_heads: int,
    group_size: int,
    head_size: int,
    context_len: int,
    kv_bytes_per_element: float,
    reads: SparseReads,
    window: int | None = None,
) -> Cost:
    """Returns the time of sparse decode attention of one layer inside a drive, links left aside.

    Pages of step one stream over the channels. Those of step two follow; the first of them is sensed once step one of
    the first pair is through the engine, and those of the last pair once its own is. Channels are not equally full where pages
    are drawn, so the fullest one counts. Where k covers the context, attention is dense.

    Raises:
        HardwareError: The drive has no engine, or a count is not accepted.
    """
    shape = {"head_size": head_size, "context_len": context_len, "kv_bytes_per_element": kv_bytes_per_element}
    dense = attend_cost(drive, batch=batch, kv_heads=kv_heads, group_size=group_size, window=window, **shape)
    attended = context_len - oldest_token(context_len, window)
    pairs = batch * kv_heads
    if reads.num_tokens >= attended or not pairs:
        return dense
    assert drive.engine is not None
    flash, engine = drive.flash, drive.engine
    pages = sparse_pages(flash, reads=reads, window=window, **shape)
    page_s = flash.page_bytes / flash.channel_read_bytes_per_s / flash.channels
    first_s = flash.t_read_s + math.ceil(pages.step_one / flash.channels) * flash.channels * page_s
    one_s = flash.t_read_s + pages.step_one * pairs * page_s
    two_s = pages.token_pages * page_s
    chosen_s = engine.setup_s + flash.t_read_s
    second_s = max(max(one_s, first_s + chosen_s) + two_s * pairs, one_s + chosen_s + two_s)
    second_s += _overhang(pages.variance * pairs, flash.channels) * flash.channels * page_s
    tokens = tokens_per_page(flash, head_size, kv_bytes_per_element)
    buffered_bytes = 2 * pairs * min(attended, context_len % tokens) * head_size * kv_bytes_per_element
    flops = sparse_attend_flops(pairs * group_size, head_size, attended, reads)
    page_bytes = pages.total * pairs * flash.page_bytes
    appended_bytes = 2 * pairs * head_size * kv_bytes_per_element
    read = Cost(second_s, "flash")
    return pipelined_cost(drive, engine, read, flops, page_bytes, buffered_bytes, appended_bytes)


def sparse_attend_flops(query_heads: int, head_size: int, context_len: int, reads: SparseReads) -> float:
    """Returns the floating-point operations of sparse attention, 2 per multiply-add, of query heads of all sequences."""
    products = context_len * min(reads.num_channels, head_size) + 2 * reads.num_tokens * head_size
    return 2.0 * query_heads * products


def _overhang(variance: float, channels: int) -> float:
    """Returns by how many pages the fullest of equal channels is expected to exceed their mean.

    The number of pages on each is near enough normal; the largest of n normal numbers lies at the quantile
    (n - 0.375) / (n + 0.25) (Blom, Statistical Estimates and Transformed Beta-Variables, 1958).
    """
    if channels < 2:
        return 0.0
    return math.sqrt(variance) * NormalDist().inv_cdf((channels - 0.375) / (channels + 0.25))


def _missed(every: int, marked: int, drawn: float) -> float:
    """Returns the chance that ``drawn`` of ``every`` things, without return, are none of the ``marked`` ones.

    The number drawn need not be whole: factorials are gamma functions.
    """
    if drawn > every - marked:
        return 0.0
    others = every - marked
    log = math.lgamma
    return math.exp(log(others + 1) - log(others - drawn + 1) - log(every + 1) + log(every - drawn + 1))
