"""The modes in which caches may keep the inputs of layers, among the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from partitioner.placement.draft import Mode
from partitioner.placement.policies import Policy
from partitioner.placement.recompute import Room


def with_recompute(modes: Sequence[Mode], policy: Policy, room: Room) -> list[Mode]:
    """Returns the modes of a model with those in which caches of inputs are offered.

    Streams of weights and of K and V share links with those of inputs, and in any order some layers wait; so where K and V may
    be kept as well, and streamed, inputs are all that is streamed.

    They come first where some K and V has to be fetched anyway: what they find then shows soon that other modes are slower.
    """
    alone = "kv" not in policy.cache_forms or policy.kv_homes is not None
    offered = list(dict.fromkeys(replace(m, streaming=alone, micro_batches=1, recompute=True) for m in modes))
    if alone:
        return offered
    return [*offered, *modes] if room.some_is_fetched(policy) else [*modes, *offered]
