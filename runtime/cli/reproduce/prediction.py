"""What a plan predicts of a point of the evaluation, and where a decode step's time goes."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from cost_models import HardwareSpec, flash_read_cost
from partitioner import Plan
from partitioner.ir.op import Attention, Op
from partitioner.plan.steps import Run
from partitioner.stack_costs import drive_of, layer_s

PARTS: tuple[str, ...] = ("KV access", "engine", "GPU", "stack", "transfers")
"""Where time goes: reading K and V from flash, or bringing them to the GPU; attention's arithmetic in drives that does not hide
behind reads; ops on the GPU; time of layers in the software; and what is left, values on their way and commands."""


@dataclass(frozen=True)
class Prediction:
    """Holds what is predicted of a generation.

    Attributes:
        hardware: What it is predicted for, its software included.
        tokens_per_s: New tokens per second, prefill included.
        prefill_s: Seconds of the prefill.
        decode_s: Seconds of all decode steps.
        step_s: Seconds of a decode step on average.
        parts_s: Seconds of a decode step on average by part of :data:`PARTS`.
        layer_read_bytes: Bytes of pages that one layer's attention reads in all decode steps, 0 where no drive attends.
        num_layers: Attentions of the model.
        kv_token_bytes: K and V of one token of one sequence that drives keep, all layers; 0 where drives keep none.
        lifetime_tokens: Tokens whose K and V can be kept, each byte programmed once, until drives are worn out.
    """

    hardware: HardwareSpec
    tokens_per_s: float
    prefill_s: float
    decode_s: float
    step_s: float
    parts_s: Mapping[str, float]
    layer_read_bytes: float
    num_layers: int
    kv_token_bytes: float
    lifetime_tokens: float

    @property
    def kv_share(self) -> float:
        """Returns the share of KV access in a decode step."""
        return self.parts_s["KV access"] / self.step_s


def predict(plan: Plan) -> Prediction:
    """Returns what a plan predicts."""
    contexts = plan.workload.decode_contexts(with_prefill=True)
    steps = sum(weight for _, weight in contexts)
    parts = dict.fromkeys(PARTS, 0.0)
    read = 0.0
    for (context, weight), (timeline, _) in zip(contexts, plan.decode_timelines, strict=True):
        for name, seconds in _parts(plan, context, timeline.end_s).items():
            parts[name] += weight * seconds / steps
        read += weight * _layer_read_bytes(plan, context)
    wear = plan.endurance
    return Prediction(
        plan.hw,
        plan.tokens_per_second,
        plan.prefill_seconds,
        plan.total_decode_seconds,
        plan.latency_s,
        parts,
        read,
        len(plan.caches),
        0.0 if wear is None else wear.bytes_per_kv_token,
        0.0 if wear is None else wear.lifetime_kv_tokens(copies=1.0),
    )


def _parts(plan: Plan, context: int, step_s: float) -> dict[str, float]:
    """Returns the seconds of a decode step by part."""
    costing, costs = plan.costing, plan.step_costs("decode")
    access = engine = stack = 0.0
    known: dict[Hashable, tuple[float, float]] = {}
    for op in plan.ops("decode"):
        if op.attention is None:
            continue
        stack += layer_s(costing, op, "decode")
        alike = _form(plan, op, op.attention)
        if alike not in known:
            known[alike] = _attention_parts(plan, op, op.attention, context)
        access, engine = access + known[alike][0], engine + known[alike][1]
    gpu = sum(
        costs.run_cost(step, context).seconds - _stack_of(plan, step)
        for step in plan.decode.steps
        if isinstance(step, Run) and step.device == "gpu0"
    )
    left = step_s - access - engine - gpu - stack
    return dict(zip(PARTS, (access, engine, gpu, stack, max(0.0, left)), strict=True))


def _stack_of(plan: Plan, step: Run) -> float:
    """Returns the stack's seconds that a run counts among its own."""
    names = plan.decode.segments[step.segment].ops
    return sum(layer_s(plan.costing, plan.decode.op[name], "decode") for name in names)


def _form(plan: Plan, op: Op, attention: Attention) -> Hashable:
    """Returns all that the parts of an attention depend on, which layers that are alike share."""
    shape = (attention.num_heads, attention.num_kv_heads, attention.head_size, attention.cache_dtype)
    kept = (attention.sparsity, attention.source is None)
    return (shape, kept, plan.decisions.ops[op.name], plan.caches[op.name])


def _attention_parts(plan: Plan, op: Op, attention: Attention, context: int) -> tuple[float, float]:
    """Returns the seconds of KV access of one attention, and of the engine's arithmetic after it."""
    costing, decision = plan.costing, plan.decisions.ops[op.name]
    tier, home = decision.tier("decode"), decision.home
    if tier == "gpu":
        if home == "gpu":
            return 0.0, 0.0
        return costing.fetch_s(attention, context - 1, home, tier).seconds, 0.0
    on_drives = [s for s in plan.caches[op.name] if s.device.startswith("csd")]
    read = whole = 0.0
    for share in on_drives:
        pages = costing.attended_bytes(attention, context, share.fraction)
        read = max(read, flash_read_cost(drive_of(costing, share.device), pages).seconds)
        whole = max(whole, costing.share_attend_cost(attention, share, context).seconds)
    return read, max(0.0, whole - read)


def _layer_read_bytes(plan: Plan, context: int) -> float:
    """Returns the bytes of pages that drives read for the attention of one layer, on average over those not alike."""
    read = {
        _form(plan, op, op.attention): op.attention
        for op in plan.ops("decode")
        if op.attention and plan.decisions.ops[op.name].tier("decode") == "csd"
    }
    sizes = [plan.costing.attended_bytes(attention, context) for attention in read.values()]
    return sum(sizes) / len(sizes) if sizes else 0.0
