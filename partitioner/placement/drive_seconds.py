"""How long drives work for the attention of a decode, added up over the drives and over all steps."""

from __future__ import annotations

from collections.abc import Sequence

from partitioner.costing import Costing
from partitioner.ir.op import Attention

Contexts = Sequence[tuple[int, float]]
"""(context length, decode steps at about that length)."""


def drives_attend_s(costing: Costing, attention: Attention, contexts: Contexts) -> float:
    """Returns the seconds in which drives attend, where each holds its share of the KV cache."""
    shares = costing.shares(attention)
    return sum(
        steps * costing.share_attend_cost(attention, share, context).seconds
        for context, steps in contexts
        for share in shares
    )


def drives_read_s(costing: Costing, attention: Attention, contexts: Contexts) -> float:
    """Returns the seconds in which drives read a KV cache that is shipped to where it is used."""
    read_s = (
        steps * costing.flash_read_s(costing.flash_bytes(attention, context - 1))
        for context, steps in contexts
    )
    return len(costing.links.drives) * sum(read_s)
