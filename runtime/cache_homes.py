"""Which caches of a plan live in parts, and how large they are."""

from __future__ import annotations

from typing import Any

from partitioner.ir.op import Attention
from partitioner.jaxpr import shape_of
from partitioner.plan.plan import Plan
from partitioner.plan.steps import Run
from partitioner.shares import Share
from runtime.errors import SessionError


def is_on_drives(shares: tuple[Share, ...]) -> bool:
    """Tells whether a cache lives on drives alone."""
    return all(s.device.startswith("csd") for s in shares)


def is_in_parts(plan: Plan, op: str) -> bool:
    """Tells whether no processor holds an attention's cache as the model has it: its devices hold their shares."""
    return is_on_drives(plan.caches[op]) or any(s.attention == op for s in plan.decode.segments)


def cache_len(plan: Plan, attention: Attention) -> int:
    """Returns the tokens that every row of an attention's cache has room for."""
    return shape_of(_key_cache(plan, attention))[attention.cache_layout.index(("token",))]


def cache_dtype(plan: Plan, attention: Attention) -> Any:
    """Returns the dtype of an attention's cache."""
    cache: Any = _key_cache(plan, attention).aval
    return cache.dtype


def check_shares(plan: Plan) -> None:
    """Requires that every cache lives where a decode step can use it.

    Raises:
        SessionError: A cache is shared by devices of which not all attend, or two attend to one share.
    """
    for op in plan.decode.graph.ops:
        if op.attention is None:
            continue
        shares = plan.caches[op.name]
        for share in shares:
            if sum(s.device == share.device for s in shares) > 1:
                raise SessionError(
                    f"{share.device} has two shares of {op.name}; partition again with one share per device"
                )
        commands = {s.index for s in plan.decode.segments if s.attention == op.name}
        attending = [s for s in plan.decode.steps if isinstance(s, Run) and s.segment in commands]
        devices = ", ".join(s.device for s in shares)
        if commands and {_cut(s.share) for s in attending} != {_cut(s) for s in shares}:
            raise SessionError(
                f"the cache of {op.name} is shared between {devices}, and the decode attends to other shares on "
                f"{', '.join(s.device for s in attending)}; partition again"
            )
        if not commands and not is_on_drives(shares) and len(shares) != 1:
            raise SessionError(
                f"the cache of {op.name} is shared between {devices}, and none of them attends to its share; give the "
                "cache to drives alone or to one other device"
            )


def _cut(share: Share | None) -> tuple[object, ...]:
    return (share.device, share.rows, share.kv_heads) if share is not None else ()


def _key_cache(plan: Plan, attention: Attention) -> Any:
    return next(
        i.var for i in plan.decode.graph.phase.inputs if i.role == "cache" and i.name == attention.key_cache
    )
