"""K and V made again of stored inputs give the tokens of the plain model, wherever the inputs live."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cost_models import HardwareSpec
from partitioner import Plan, PlanError, Workload, partition
from partitioner.front import trace_model
from partitioner.frontend import adapt
from partitioner.plan.assemble import assemble_plan
from partitioner.plan.decisions import CacheForm, Certificate, Decision, Decisions
from partitioner.plan.steps import Move
from partitioner.plan.verify_plan import verify_plan
from runtime import Session
from runtime.devices.null import count_steps
from tests.runtime.tiny_models import (
    PROMPTS,
    WORKLOAD,
    counting_decoder,
    demo_hardware,
    plain_run,
    transformer,
)

MODELS: dict[str, Callable[[], Any]] = {
    "opt float32": lambda: transformer("float32", position="learned", seed=2),
    "opt float16": lambda: transformer("float16", position="learned", dtype="float16", seed=9),
    "rotary float32": lambda: transformer("float32", seed=3),
    "flax attention": lambda: counting_decoder(44),
}
HEALTHY_MARGIN = 1e-3
RESERVED = {"gpu": 0.0, "host": 0.0, "csd": 0.0}


def hardware(num_drives: int = 1) -> HardwareSpec:
    return demo_hardware(num_drives).replace("drive.flash.page_bytes", 128)


def forced(model: Any, hw: HardwareSpec, homes: tuple[str, ...], forms: tuple[CacheForm, ...]) -> Plan:
    """Returns the plan whose n-th cache is of the n-th form and lives on the n-th home, everything else on the GPU."""
    traced = trace_model(adapt(model), hw, WORKLOAD)
    tiers: dict[str, tuple[tuple[str, str], ...]] = {}
    attentions = [op.name for op in traced.graphs[-1].ops if op.attention]
    for graph in traced.graphs:
        for op in graph.ops:
            tiers[op.name] = (*tiers.get(op.name, ()), (graph.phase.name, "gpu"))
    decisions = {name: Decision(where, "gpu") for name, where in tiers.items()}
    for name, home, form in zip(attentions, homes, forms, strict=True):
        decisions[name] = Decision(tiers[name], home, (), form)
    certificate = Certificate(0.0, 0.0, 0.0, "forced")
    plan = assemble_plan(traced, hw, WORKLOAD, "auto", Decisions(decisions, RESERVED, certificate))
    verify_plan(plan)
    return plan


def tokens_of(plan: Plan, model: Any) -> list[list[int]]:
    with Session(plan, model, clock="virtual") as session:
        return session.generate(PROMPTS, max_new_tokens=10).tokens


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("home", "num_drives"), [("host", 1), ("gpu", 1), ("csd", 1), ("csd", 3)])
def test_tokens_equal_plain_jit(name: str, home: str, num_drives: int) -> None:
    model = MODELS[name]()
    expected = plain_run(model, PROMPTS, 10, WORKLOAD.max_len)
    assert expected.margin > HEALTHY_MARGIN
    plan = forced(model, hardware(num_drives), (home, home), ("input", "input"))
    assert tokens_of(plan, model) == expected.tokens


@pytest.mark.parametrize(
    ("homes", "forms"), [(("csd", "csd"), ("kv", "input")), (("host", "gpu"), ("input", "kv"))]
)
def test_layers_keep_what_they_are_told(homes: tuple[str, ...], forms: tuple[CacheForm, ...]) -> None:
    model = MODELS["opt float32"]()
    plan = forced(model, hardware(2), homes, forms)
    assert tokens_of(plan, model) == plain_run(model, PROMPTS, 10, WORKLOAD.max_len).tokens


@pytest.mark.parametrize("num_drives", [0, 2])
def test_the_policy_fetches_half_of_what_others_fetch(num_drives: int) -> None:
    model = MODELS["rotary float32"]()
    hw = hardware(num_drives) if num_drives else demo_hardware(0)
    plan, other = (partition(model, hw, WORKLOAD, policy) for policy in ("recompute", "deepspeed-host"))
    attentions = [d for n, d in plan.decisions.ops.items() if plan.decode.op[n].attention]
    assert {(d.form, d.tier("decode")) for d in attentions} == {("input", "gpu")}
    assert tokens_of(plan, model) == plain_run(model, PROMPTS, 10, WORKLOAD.max_len).tokens
    fetched, whole = (count_steps(p, 16).move_bytes["stream_cache"] for p in (plan, other))
    assert 2 * fetched == whole
    kept, caches = (sum(row["kv_cache"] for row in p.resident_bytes().values()) for p in (plan, other))
    assert 2 * kept == caches


def test_a_batch_in_slices_and_one_row() -> None:
    """One row alone leaves no axis of rows in the layouts of an attention."""
    model = MODELS["opt float32"]()
    workload = Workload(1, 12, 10)
    plan = partition(model, hardware(), workload, "recompute")
    with Session(plan, model, clock="virtual") as session:
        made = session.generate(PROMPTS[:1], max_new_tokens=10).tokens
    assert made == plain_run(model, PROMPTS[:1], 10, workload.max_len).tokens


def test_a_plan_file_holds_the_form(tmp_path: Path) -> None:
    model = MODELS["opt float32"]()
    plan = forced(model, hardware(2), ("csd", "host"), ("input", "kv"))
    plan.save(tmp_path / "plan.json")
    loaded = Plan.load(tmp_path / "plan.json", model)
    assert loaded.decisions == plan.decisions
    assert [d.form for n, d in loaded.decisions.ops.items() if loaded.decode.op[n].attention] == [
        "input",
        "kv",
    ]
    described = plan.to_dict()["decisions"]["ops"]
    assert described["blocks.0.attention"]["form"] == "input"
    assert "form" not in described["blocks.1.attention"]
    assert tokens_of(loaded, model) == plain_run(model, PROMPTS, 10, WORKLOAD.max_len).tokens


def test_the_report_says_what_is_kept() -> None:
    plan = partition(MODELS["opt float32"](), hardware(), WORKLOAD, "recompute")
    text = " ".join(plan.report().split())
    assert "(2 of 2 layers keep their input in place of K and V)" in text
    assert (
        "On host, 2 caches of blocks.*.attention keep the inputs of the layers, 22.5 kB, in place of K and V, which would take "
        "45.1 kB"
    ) in text
    assert "layer inputs of blocks.*.attention" in text
    assert "new layer input of blocks.*.attention" in text
    assert "made again of the inputs of its layer" in str(plan.explain("blocks.*.attention"))


def test_predicted_moves_are_those_that_are_counted() -> None:
    plan = forced(MODELS["opt float32"](), hardware(2), ("csd", "host"), ("input", "input"))
    for step in plan.decode.steps:
        if isinstance(step, Move) and step.kind == "stream_cache":
            assert step.share is not None
            assert plan.move_bytes("decode", step, 17) == 4 * 16 * 32 * 4 * step.share.fraction
    counted = count_steps(plan, 17).move_bytes
    assert counted["stream_cache"] == 2 * 4 * 16 * 32 * 4
    assert counted["append_cache"] == 2 * 4 * 32 * 4
    assert count_steps(plan, 12, "prefill").move_bytes["store_cache"] == 2 * 4 * 12 * 32 * 4
    endurance = plan.endurance
    assert endurance is not None
    assert endurance.bytes_per_kv_token == 32 * 4


def test_what_cannot_be_made_again_is_refused() -> None:
    model = transformer("float32", num_kv_heads=1)
    with pytest.raises(PlanError, match=r"keeps the input of the layer of 'blocks\.0\.attention' in place"):
        forced(model, hardware(), ("host", "host"), ("input", "kv"))
