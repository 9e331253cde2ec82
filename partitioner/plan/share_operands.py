"""What a share of an attention reads in a decode step."""

from __future__ import annotations

from partitioner.ir.op import Attention
from partitioner.jaxpr import Var
from partitioner.shares import Share


def share_operands(attention: Attention, share: Share | None) -> tuple[Var, ...]:
    """Returns q, the new k and the new v; q alone for older tokens, behind which nothing is appended."""
    if share is not None and share.cut is not None and share.cut.side == "older":
        return (attention.query,)
    return attention.query, attention.new_key, attention.new_value
