"""Plan files: what is written comes back, and every way of being wrong gives one error that names it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models import Transformer, abstract
from partitioner import Plan, PlanError, Workload, partition
from tests.partitioner.plan.plans import WIDE, several_gpus_plan
from tests.partitioner.small_models import LLAMA, OPT


@pytest.fixture(scope="module")
def model() -> Transformer:
    return abstract(OPT)


@pytest.fixture(scope="module")
def plan(model: Transformer) -> Plan:
    return partition(model, "demo", Workload(2, 8, 4), "instinfer")


def test_a_plan_comes_back_as_it_was(plan: Plan, model: Transformer, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    plan.save(file)
    loaded = Plan.load(file, model)
    assert loaded.to_dict() == plan.to_dict()
    assert loaded.report() == plan.report()


def test_a_plan_for_several_gpus_comes_back_with_what_is_cut(tmp_path: Path) -> None:
    plan = several_gpus_plan()
    plan.save(tmp_path / "plan.json")
    loaded = Plan.load(tmp_path / "plan.json", abstract(WIDE))
    assert loaded.report() == plan.report()
    assert loaded.decode.graph.parallel == plan.decode.graph.parallel
    assert loaded.total_seconds == plan.total_seconds


def test_a_file_names_no_code(plan: Plan) -> None:
    assert "lambda" not in json.dumps(plan.to_dict())
    assert set(plan.to_dict()) == {
        *(
            "format",
            "version",
            "model",
            "fingerprint",
            "policy",
            "workload",
            "hardware",
            "decisions",
            "predicted",
        )
    }


def test_saving_over_a_file_leaves_nothing_else(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text("old", encoding="utf-8")
    plan.save(file)
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_saving_that_fails_leaves_what_was_there(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "plan.json"
    file.write_text("old", encoding="utf-8")

    def full_disk(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        plan.save(file)
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]
    assert file.read_text(encoding="utf-8") == "old"


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return change


def _drop(*path: Any) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for key in path[:-1]:
            data = data[key]
        del data[path[-1]]

    return change


def _shrink_flash(data: dict[str, Any]) -> None:
    flash = data["hardware"]["drives"][0]["flash"]
    flash.update(channels=1, dies_per_channel=1, planes_per_die=1, blocks_per_plane=1, pages_per_block=2)


ATTENTION = ("decisions", "ops", "blocks.0.attention")
WRONG: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "another format": (_set("format", to="onnx"), r"is not a plan: its field 'format'"),
    "a later version": (
        _set("version", to=9),
        r"has version 9 and this program reads version 4; plan the model again",
    ),
    "no policy": (_drop("policy"), r"the plan lacks the field 'policy'"),
    "an unknown policy": (_set("policy", to="magic"), r"unknown policy 'magic'; known are auto"),
    "a further field": (_set("code", to="import os"), r"the plan has an unknown field 'code'; accepted are"),
    "no workload": (_set("workload", to=None), r"workload must be a table, got NoneType"),
    "a batch of none": (
        _set("workload", "batch_size", to=0),
        r"workload: Workload.batch_size must be a whole number",
    ),
    "a wrong hardware field": (_set("hardware", "host", to=3), r"hardware: host = 3 is not accepted"),
    "a hardware field too many": (
        _set("hardware", "color", to="red"),
        r"hardware: hardware has an unknown field 'color'",
    ),
    "another fingerprint": (_set("fingerprint", to="00"), r"made for another model.*plan this model again"),
    "a fingerprint that is a number": (_set("fingerprint", to=5), r"fingerprint must be a text, got 5"),
    "no ops": (_set("decisions", "ops", to={}), r"decisions.ops must be a table of at least one op"),
    "an op missing": (_drop(*ATTENTION), r"says nothing of the op 'blocks.0.attention'"),
    "an op too many": (
        _set("decisions", "ops", "nonsense", to={"decode": "gpu", "home": "-"}),
        r"places an op 'nonsense' that the model does not have",
    ),
    "a phase missing": (
        _drop(*ATTENTION, "prefill"),
        r"places 'blocks.0.attention' in decode; it occurs in prefill and decode",
    ),
    "an unknown tier": (
        _set(*ATTENTION, "decode", to="tpu"),
        r"ops\['blocks.0.attention'\].decode must be one of gpu",
    ),
    "no phase at all": (
        _set(*ATTENTION, to={"home": "csd"}),
        r"must name a tier for prefill, decode or both",
    ),
    "a tier the policy forbids": (
        _set(*ATTENTION, "decode", to="host"),
        r"runs 'blocks.0.attention' on 'host' in decode; policy 'instinfer' allows csd there",
    ),
    "a home the policy forbids": (
        _set(*ATTENTION, "home", to="gpu"),
        r"keeps the cache of 'blocks.0.attention' on 'gpu'; policy 'instinfer' allows csd",
    ),
    "a negative bound": (
        _set("decisions", "certificate", "bound", to=-1),
        r"certificate.bound must be a finite number of at least 0, got -1",
    ),
    "a bound that is a text": (
        _set("decisions", "certificate", "bound", to="0"),
        r"certificate.bound must be a finite",
    ),
    "more than fits": (_shrink_flash, r"csd0 would hold \d+ bytes of 8192"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_gives_one_error(case: str, plan: Plan, model: Transformer, tmp_path: Path) -> None:
    change, message = WRONG[case]
    data = plan.to_dict()
    change(data)
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(PlanError, match=rf"plan file '.*plan\.json': .*{message}"):
        Plan.load(file, model)


@pytest.mark.parametrize(
    ("policy", "hw", "op", "home", "message"),
    [
        (
            "vllm-recompute",
            "demo",
            "blocks.0.attention",
            "host",
            r"keeps the cache .* on 'host'; .* allows gpu$",
        ),
        ("flexgen-ssd", "paper-a6000-csd", "blocks.0.mlp.up", "host", r"keeps the weights .* allows gpu, -$"),
    ],
)
def test_homes_are_those_of_the_form_and_of_the_hardwares_software(
    policy: str, hw: str, op: str, home: str, message: str, model: Transformer, tmp_path: Path
) -> None:
    data = partition(model, hw, Workload(2, 8, 4), policy).to_dict()
    assert data["decisions"]["ops"][op]["home"] in ("gpu", "-")
    data["decisions"]["ops"][op]["home"] = home
    file = tmp_path / "plan.json"
    file.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(PlanError, match=message):
        Plan.load(file, model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not well-formed JSON"),
        (b"\xff\xfe", "is not text in UTF-8"),
        (b"[]", "is not a plan"),
        (b'{"format": NaN}', "holds NaN; every number of a plan is finite"),
        (b'{"format": 1, "format": 2}', "has the field 'format' twice in one table"),
        (b"[" * 100_000, "is not well-formed JSON"),
    ],
)
def test_a_file_that_holds_no_plan_is_refused(content: bytes, message: str, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(content)
    with pytest.raises(PlanError, match=message):
        Plan.load(file, None)


def test_a_truncated_file_is_refused(plan: Plan, model: Transformer, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    plan.save(file)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PlanError, match="is not well-formed JSON"):
        Plan.load(file, model)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"plan file '.*nowhere\.json': cannot be read: No such file"):
        Plan.load(tmp_path / "nowhere.json", None)


def test_a_plan_for_another_model_is_refused(plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    plan.save(file)
    with pytest.raises(PlanError, match=r"it is for 'small-opt' .*'small-llama' traces to"):
        Plan.load(file, abstract(LLAMA))
