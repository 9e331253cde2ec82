"""What shares of an attention cost that have some of its tokens: the older ones on a drive, the newest in host memory.

Programs of pages that leave a window go on behind the attentions, as those of a drive's group buffer do; no account charges
them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from cost_models import Cost, attend_cost, attend_flops, oldest_token, processor_attend_cost
from partitioner.emulation_costs import as_emulated, hand_over_s
from partitioner.ir.op import Attention
from partitioner.jaxpr import num_bytes, shape_of
from partitioner.plan.share_operands import share_operands
from partitioner.share_part import share_part
from partitioner.shares import Share
from partitioner.stack_costs import drive_of, with_engine
from partitioner.token_cut import TokenCut

if TYPE_CHECKING:
    from partitioner.costing import Costing

STATISTICS_BYTES = 8
"""Bytes beside the output for each row and query head: the highest score and the sum of weights, in float32."""


def cut_attend_cost(
    costing: Costing, attention: Attention, share: Share, cut: TokenCut, context_len: int
) -> Cost:
    """Returns the time one device takes for its tokens of a decode attention, links and launch left aside.

    A drive that has no token of a sequence yet gets no command.
    """
    part = share_part(attention, share)
    tokens = cut.attended(context_len)
    if cut.side == "newest":
        seen = min(tokens, attention.tokens_seen(context_len))
        return processor_attend_cost(costing.processors["host"], context_len=seen, dtype="float32", **part)
    if not tokens:
        return Cost(0.0, "overhead")
    newer = context_len - tokens
    cost = attend_cost(
        drive_of(costing, share.device),
        context_len=tokens,
        newer=newer,
        appended_tokens=0,
        window=attention.window,
        **part,
    )
    seen = max(0, attention.tokens_seen(context_len) - newer)
    cost = as_emulated(costing, attention, share, seen, cost)
    shape = (share.num_rows, share.num_kv_heads, attention.group_size, attention.head_size)
    return with_engine(costing, cost, attend_flops(*shape, seen))


def hand_out_s(costing: Costing, attention: Attention, share: Share, fraction: float) -> float:
    """Returns the time from the GPU to a share's tier and back of what an attention reads and makes there.

    Args:
        costing: Answers what things cost.
        attention: As traced.
        share: One of the tier's; others have the same tokens.
        fraction: Of the rows that were traced, which the tier's shares have together.
    """
    tier = share.device.rstrip("0123456789")
    if share.cut is None:
        return costing.hand_out_s(attention, tier, fraction)
    links = costing.links
    told = STATISTICS_BYTES * math.prod(shape_of(attention.query)) / attention.head_size
    there_s = links.transfer_s(sum(map(num_bytes, share_operands(attention, share))) * fraction, "gpu", tier)
    back_s = links.transfer_s((num_bytes(attention.output) + told) * fraction, tier, "gpu")
    latency_s = links.latency_s("gpu", tier) + links.latency_s(tier, "gpu")
    return there_s + back_s + latency_s + hand_over_s(costing, tier)


def share_bytes(costing: Costing, attention: Attention, share: Share) -> float:
    """Returns what a share of the longest context occupies on its device, of the whole batch."""
    cut, most = share.cut, costing.workload.max_len
    if cut is None:
        return costing.cache_bytes(attention, share.device.rstrip("0123456789")) * share.fraction
    if cut.side == "newest":
        tokens = min(cut.room, most)
        return costing.kv_bytes(attention, tokens, share.fraction) * costing.micro_batches
    pages = costing.drive_cache(attention).held_pages(cut.attended(most))
    return costing.page_bytes(attention, pages) * share.fraction * costing.micro_batches


def attended_page_bytes(costing: Costing, attention: Attention, share: Share, context_len: int) -> float:
    """Returns the bytes of the flash pages that a drive reads to attend to its share."""
    if share.cut is None:
        return costing.attended_bytes(attention, context_len, share.fraction)
    tokens = share.cut.attended(context_len)
    first = oldest_token(tokens, attention.window, context_len - tokens) if tokens else 0
    page = share.cut.page_tokens
    return costing.page_bytes(attention, 2.0 * (tokens // page - first // page)) * share.fraction


def stored_bytes(costing: Costing, attention: Attention, share: Share, tokens: int) -> float:
    """Returns the bytes of K and V of a share once its rows have ``tokens`` tokens."""
    own = tokens if share.cut is None else share.cut.stored(tokens)
    return costing.kv_bytes(attention, own, share.fraction)


def statistics_bytes(attention: Attention, share: Share) -> int:
    """Returns the bytes that come beside a share's output: none where it has all tokens of its rows."""
    if share.cut is None:
        return 0
    return STATISTICS_BYTES * share.num_rows * share.num_kv_heads * attention.group_size
