"""Policies: constraints on the one solver, each a published system's placement rule or none."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from cost_models import HardwareSpec
from partitioner.costing import Costing
from partitioner.errors import PlacementError
from partitioner.plan.decisions import CacheForm
from partitioner.stack import LINKS, Stack
from partitioner.workload import Workload


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
        kv_homes: Those of ``cache_homes`` where K and V may be kept; None for all of them.
        newest: Whether host memory may keep the newest tokens of what drives hold of an attention.
        stack: What the system's software does.
        predicted_only: Whether the runtime lacks what plans under this policy need.
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
    kv_homes: tuple[str, ...] | None = None
    newest: bool = False
    stack: Stack = LINKS
    predicted_only: bool = False

    def on(self, hw: HardwareSpec) -> Policy:
        """Returns the policy on some hardware.

        Where this comes with published software, a system whose weights stay on the GPU has no other home for them.
        """
        if hw.software is None or not self.stack.resident_weights:
            return self
        return dataclasses.replace(self, weight_homes=("gpu",))

    def homes_of(self, form: CacheForm) -> tuple[str, ...]:
        """Returns where caches of a form may live; inputs live where K and V may not, if that is restricted."""
        if self.kv_homes is None:
            return self.cache_homes
        return self.kv_homes if form == "kv" else tuple(h for h in self.cache_homes if h not in self.kv_homes)

    def costing(
        self, hw: HardwareSpec, workload: Workload, num_layers: int, micro_batches: int = 1
    ) -> Costing:
        """Returns what answers cost questions under this policy, for a model with so many attentions."""
        return Costing(hw, workload, self.via_host, micro_batches, self.stack, num_layers)


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
            newest=True,
        ),
        Policy("gpu-only", "everything on the GPU", weight_homes=("gpu",)),
        Policy(
            "deepspeed-host",
            "KV cache in host memory, shipped to the GPU each step",
            cache_homes=("host",),
            via_host=True,
            stack=Stack("host-copy"),
        ),
        Policy(
            "flexgen-ssd",
            "KV cache on the drive, shipped to the GPU through host memory each step",
            cache_homes=("csd",),
            via_host=True,
            stack=Stack("page-cache", whole_prefill=True, resident_weights=True),
        ),
        Policy(
            "flexgen-gds",
            "KV cache on the drive, shipped to the GPU peer to peer each step",
            cache_homes=("csd",),
            stack=Stack("files", whole_prefill=True, resident_weights=True),
        ),
        Policy(
            "flexgen-sparq",
            "as flexgen-ssd, but the GPU attends sparsely (SparQ) and fetches what it attends to",
            cache_homes=("csd",),
            via_host=True,
            stack=Stack("page-cache", sparse=True, whole_prefill=True, resident_weights=True),
            predicted_only=True,
        ),
        Policy(
            "recompute",
            "inputs of layers in host memory or on the drive, K and V made again of them on the GPU each step",
            cache_homes=("host", "csd"),
            cache_forms=("input",),
        ),
        Policy(
            "vllm-recompute",
            "K and V of the layers that fit on the GPU; of the others the inputs, K and V made again of them each step",
            cache_homes=("gpu", "host", "csd"),
            cache_forms=("kv", "input"),
            kv_homes=("gpu",),
        ),
        Policy(
            "host-attention",
            "KV cache and decode attention in host memory, everything else on the GPU",
            decode_attention=("host",),
            cache_homes=("host",),
            split=True,
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
    """Returns a policy on some hardware, after checking that this has what it needs.

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
    return policy.on(hw)
