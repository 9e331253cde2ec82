"""Plans that tests of this folder share; each is made once in a run."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import jax
from jax import numpy as jnp

from cost_models import HardwareSpec
from models import TransformerConfig, abstract, load_pretrained
from partitioner import Plan, Workload, partition
from partitioner.front import Traced, trace_model
from partitioner.frontend import adapt, from_step
from partitioner.jaxpr import num_bytes
from partitioner.placement.paired_graphs import SMALL_WEIGHT_BYTES
from partitioner.plan.assemble import assemble_plan
from partitioner.plan.decisions import SPLIT, Certificate, Decision, Decisions
from partitioner.plan.timeline import Event, Timeline
from tests.partitioner.small_models import HEAD_SIZE, HEADS, HIDDEN, VOCAB

WIDE = TransformerConfig.named("opt-125m").replace(
    name="wide",
    vocab_size=64,
    hidden_size=512,
    num_layers=2,
    num_heads=8,
    num_kv_heads=8,
    head_size=64,
    ffn_size=1024,
    max_position=256,
    param_dtype="float32",
    compute_dtype="float32",
    kv_dtype="float16",
)
"""Its matrices are of 1 MiB and more, so that they have homes and can be streamed."""
WIDE_LOAD = Workload(2, 96, 32)


@cache
def tiny_plan(policy: str, num_drives: int = 4) -> Plan:
    """Returns a plan of the shipped model for a batch of 8 and 32 + 32 tokens on the demo system."""
    hw = HardwareSpec.load("demo").with_drives(num_drives)
    return partition(load_pretrained("tiny"), hw, Workload(8, 32, 32), policy)


@cache
def mixed_plan() -> Plan:
    """Returns a plan that uses GPU, host and drive: what fits into none of them alone."""
    return partition(load_pretrained("tiny"), "demo", Workload(8, 480, 32), "auto")


@cache
def wide_plan(policy: str, num_drives: int = 1) -> Plan:
    """Returns a plan of a model with large weights for a batch of 2 and 96 + 32 tokens."""
    hw = HardwareSpec.load("demo").with_drives(num_drives)
    return partition(abstract(WIDE), hw, WIDE_LOAD, policy)


@cache
def several_gpus_plan() -> Plan:
    """Returns a plan of the same model and load for two GPUs."""
    return partition(abstract(WIDE), HardwareSpec.load("demo").with_gpus(2), WIDE_LOAD, "gpu-only")


@cache
def traced_wide(num_drives: int = 1, micro_batches: int = 1) -> Traced:
    """Returns the op graphs of :func:`wide_plan`, those of a decode with the rows of one of some micro-batches."""
    hw = HardwareSpec.load("demo").with_drives(num_drives)
    return trace_model(adapt(abstract(WIDE)), hw, WIDE_LOAD, micro_batches=micro_batches)


@cache
def forced_plan(
    attention: Decision, others: Decision, num_drives: int = 1, policy: str = "auto", **exceptions: Decision
) -> Plan:
    """Returns a plan with made decisions, without a search and without a check.

    Args:
        attention: Where every attention runs, and where its cache lives.
        others: Where all other ops run, and where their large weights live.
        num_drives: Drives of the demo system.
        policy: Decides the paths of transfers.
        **exceptions: By the last part of an op's name: ``up``, ``out``, ``attention``.
    """
    traced = traced_wide(num_drives)
    return plan_of(
        {
            op.name: exceptions.get(op.name.rpartition(".")[2], attention if op.attention else others)
            for op in traced.graphs[-1].ops
        },
        num_drives,
        policy,
    )


def plan_of(
    wanted: Mapping[str, Decision], num_drives: int = 1, policy: str = "auto", micro_batches: int = 1
) -> Plan:
    """Returns the wide model's plan for decisions by op name; what has no large weights gets no home for them."""
    traced = traced_wide(num_drives, micro_batches)
    sizes = {i.name: num_bytes(i.var) for i in traced.graphs[-1].phase.inputs}
    decisions: dict[str, Decision] = {}
    for op in traced.graphs[-1].ops:
        homed = op.attention is not None or sum(sizes[n] for n in op.params) >= SMALL_WEIGHT_BYTES
        decisions[op.name] = wanted[op.name] if homed else Decision(wanted[op.name].tiers, "-")
    reserved = {"gpu": 0.0, "host": 0.0, "csd": 0.0}
    hw = HardwareSpec.load("demo").with_drives(num_drives)
    made = Decisions(decisions, reserved, Certificate(1.0, 1.0, 1.0, "none"), micro_batches)
    return assemble_plan(traced, hw, WIDE_LOAD, policy, made)


def roomy(plan: Plan) -> Plan:
    """Returns a plan on a machine that has memory for anything."""
    gpu = replace(plan.hw.gpus[0], memory_bytes=1e9)
    return replace(plan, hw=replace(plan.hw, gpus=(gpu,), host=replace(plan.hw.host, memory_bytes=1e9)))


def priced(plan: Plan) -> Plan:
    """Returns a plan on the same hardware with prices and powers, in round numbers."""
    hw = plan.hw
    gpu = replace(hw.gpus[0], price_usd=5000.0, idle_w=20.0, active_w=300.0)
    host = replace(hw.host, price_usd=3000.0, idle_w=100.0, active_w=200.0)
    drive = replace(hw.drives[0], price_usd=1000.0, idle_w=5.0, active_w=25.0)
    drives = (drive,) * len(hw.drives)
    described = replace(
        hw, gpus=(gpu,), host=host, drives=drives, service_life_s=1e8, electricity_usd_per_j=2e-8
    )
    return replace(plan, hw=described)


def ways(prefill: str, decode: str, home: str) -> Decision:
    """Returns the decision to run on two tiers with data living on a third."""
    return Decision((("prefill", prefill), ("decode", decode)), home)


def shared(**units: int) -> Decision:
    """Returns the decision to share attentions of the decode among tiers, in units: of the wide model's 8 KV heads."""
    return Decision((("prefill", "gpu"), ("decode", SPLIT)), SPLIT, tuple(units.items()))


@cache
def turns_plan() -> Plan:
    """Returns a made plan of two micro-batches, whose attentions GPU, host and drive share."""
    attention, others = shared(gpu=2, host=2, csd=4), ways("gpu", "gpu", "gpu")
    ops = traced_wide(1, 2).graphs[-1].ops
    return plan_of({op.name: attention if op.attention else others for op in ops}, micro_batches=2)


@cache
def one_token_plan() -> Plan:
    """Returns a plan of a prefill alone."""
    return partition(abstract(WIDE), "demo", Workload(2, 96, 1), "instinfer")


@cache
def unraised_plan() -> Plan:
    """Returns a plan of a model of which the attention of the first layer alone is raised."""
    function = from_step(
        biased_step, params=biased_params(), init_cache=biased_cache, max_chunk=1, name="biased"
    )
    return partition(function, "demo", Workload(2, 6, 4))


def biased_params() -> dict[str, Any]:
    square, layer = jax.ShapeDtypeStruct((HIDDEN, HIDDEN), jnp.float32), ("query", "key", "value", "out")
    slopes = jax.ShapeDtypeStruct((HEADS,), jnp.float32)
    first: dict[str, Any] = dict.fromkeys(layer, square)
    table = jax.ShapeDtypeStruct((VOCAB, HIDDEN), jnp.float32)
    return {"embed": table, "layers": [first, first | {"slopes": slopes}, first | {"slopes": slopes}]}


def biased_cache(batch_size: int, max_len: int) -> list[dict[str, jax.Array]]:
    empty = jnp.zeros((batch_size, max_len, HEADS, HEAD_SIZE))
    return [{"keys": empty, "values": empty}] * 3


def biased_step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
    """Is a decoder whose second and third layer add a learned bias by distance to their attention."""
    x, caches = params["embed"][tokens], []
    for layer, old in zip(params["layers"], cache, strict=True):
        query, key, value = (
            (x @ layer[n]).reshape(*tokens.shape, HEADS, HEAD_SIZE) for n in ("query", "key", "value")
        )
        rows = jnp.arange(len(tokens))
        keys, values = (
            old[n].at[rows, positions[:, 0]].set(new[:, 0]) for n, new in (("keys", key), ("values", value))
        )
        logits = jnp.einsum("bthd,bshd->bhts", query, keys)
        if "slopes" in layer:
            distance = positions[:, None, None, :] - jnp.arange(keys.shape[1])
            logits -= layer["slopes"][None, :, None, None] * distance
        weights = jax.nn.softmax(jnp.where(mask[:, None, None, :], logits, -jnp.inf))
        x = x + jnp.einsum("bhts,bshd->bthd", weights, values).reshape(x.shape) @ layer["out"]
        caches.append({"keys": keys, "values": values})
    return x @ params["embed"].T, caches


def made_up_run(plan: Plan) -> Timeline:
    """Returns a made-up run of a plan's workload: all takes a tenth longer than predicted, drive 0 half as long again."""
    phases = [("prefill", 1)] if plan.prefill else []
    phases.append(("decode", plan.workload.max_len - (plan.workload.prompt_len if plan.prefill else 0) - 1))
    events: list[Event] = []
    start_s = 0.0
    for phase, times in phases:
        step = plan.predicted_timeline(phase)
        for _ in range(times):
            for e in step.events:
                slower = 1.5 if e.resource == "csd0" else 1.1
                begin_s = start_s + 1.6 * e.start_s
                seconds = slower * (e.end_s - e.start_s)
                events.append(Event(e.resource, e.name, phase, begin_s, begin_s + seconds, e.num_bytes))
            start_s += 1.6 * step.end_s
    return Timeline(tuple(events))
