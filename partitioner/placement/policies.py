"""Policies: constraints on the one solver, each a published system's placement rule or none."""

from __future__ import annotations

from dataclasses import dataclass

from cost_models import HardwareSpec
from partitioner.errors import PlacementError
from partitioner.plan.decisions import CacheForm


@dataclass(frozen=True)
class Policy:
    """Says which choices the solver has.

    Attributes:
        name: What users write.
        summary: One line for reports.
        compute: Tiers on which ops other than attention may run.
        prefill_attention: Tiers for attention over the prompt.
        decode_attention: Tiers for attention of a decode step.
        cache_homes: Tiers where KV caches may live.
        weight_homes: Tiers where weights may live.
        via_host: Whether transfers go through host memory even where peer to peer is possible.
        split: Whether one attention of a decode may be shared by several tiers.
        cache_forms: What caches may keep: ``kv``, or ``input``, the input of the layer, of which K and V are made again.
        micro_batches: Parts of the batch that may decode side by side, one tier working for one part and others for another.
    """

    name: str
    summary: str
    compute: tuple[str, ...] = ("gpu",)
    prefill_attention: tuple[str, ...] = ("gpu",)
    decode_attention: tuple[str, ...] = ("gpu",)
    cache_homes: tuple[str, ...] = ("gpu",)
    weight_homes: tuple[str, ...] = ("gpu", "host")
    via_host: bool = False
    split: bool = False
    cache_forms: tuple[CacheForm, ...] = ("kv",)
    micro_batches: int = 1


POLICIES: dict[str, Policy] = {
    p.name: p
    for p in (
        Policy(
            "auto",
            "the solver chooses freely over all three tiers",
            compute=("gpu", "host"),
            prefill_attention=("gpu", "host"),
            decode_attention=("gpu", "host", "csd"),
            cache_homes=("gpu", "host", "csd"),
            split=True,
            cache_forms=("kv", "input"),
            micro_batches=2,
        ),
        Policy("gpu-only", "everything on the GPU", weight_homes=("gpu",)),
        Policy(
            "deepspeed-host",
            "KV cache in host memory, shipped to the GPU each step",
            cache_homes=("host",),
            via_host=True,
        ),
        Policy(
            "flexgen-ssd",
            "KV cache on the drive, shipped to the GPU through host memory each step",
            cache_homes=("csd",),
            via_host=True,
        ),
        Policy(
            "recompute",
            "inputs of layers in host memory or on the drive, K and V made again of them on the GPU each step",
            cache_homes=("host", "csd"),
            cache_forms=("input",),
        ),
        Policy(
            "instinfer",
            "KV cache and decode attention on the drive, everything else on the GPU",
            decode_attention=("csd",),
            cache_homes=("csd",),
        ),
    )
}


def policy_named(name: str, hw: HardwareSpec) -> Policy:
    """Returns a policy, after checking that the hardware has what it needs.

    Raises:
        PlacementError: For an unknown name, or a policy that needs a drive (or its engine) where there is none.
    """
    policy = POLICIES.get(name)
    if policy is None:
        raise PlacementError(f"unknown policy {name!r}; known are {', '.join(POLICIES)}")
    engines = bool(hw.drives) and all(d.engine is not None for d in hw.drives)
    if policy.cache_homes == ("csd",) and not hw.drives:
        raise PlacementError(f"policy {name!r} needs a drive and {hw.name} has none; try with_drives(1)")
    if policy.decode_attention == ("csd",) and not engines:
        raise PlacementError(
            f"policy {name!r} runs attention inside the drive, and the drives of {hw.name} have no engine; use a preset with "
            "computational storage (a6000-csd) or policy 'flexgen-ssd'"
        )
    return policy
