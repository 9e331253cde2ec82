"""``partition`` with an accuracy budget."""

from pathlib import Path

import pytest
from flax import nnx

from cost_models import HardwareSpec
from models import Transformer
from partitioner import AccuracyError, Plan, PlanError, SparF, Workload, WorkloadError, partition
from partitioner.accuracy.choose_sparsity import AccuracyChoice
from tests.runtime.tiny_models import demo_hardware, transformer

from .measured import sensitivities

MEASURED = sensitivities([(0.001, 0.004, 0.02), (0.1, 0.2, 0.3)])
LOAD = Workload(2, 96, 32)
HW = demo_hardware(1).replace("drive.flash.page_bytes", 64)  # 4 tokens to a page


@pytest.fixture(scope="module")
def plan() -> Plan:
    model = transformer("float16")
    return partition(model, HW, LOAD, "instinfer", accuracy_budget=0.01, sensitivities=MEASURED)


def test_the_plan_attends_as_the_budget_allows(plan: Plan) -> None:
    assert plan.workload.sparsity == (SparF.ratio(4), None)
    attentions = [op.attention for op in plan.ops("decode") if op.attention]
    assert [attention.sparsity for attention in attentions] == [SparF.ratio(4), None]
    assert plan.accuracy is not None
    assert plan.accuracy.predicted_loss == pytest.approx(0.004)
    cost = [plan.costing.attended_bytes(attention, 112) for attention in attentions]
    assert plan.accuracy.read == pytest.approx(sum(cost) / (2 * cost[1]), rel=0.05)
    report = " ".join(plan.report().split())
    assert "at most 0.40% more bits per token than exact attention, 1.00% allowed" in report
    assert "of what it reads: 1 x SparF 1/4, 1 x exact" in report


def test_the_plan_is_that_of_the_same_sparsity_given(plan: Plan) -> None:
    load = Workload(2, 96, 32, (SparF.ratio(4), None))
    given = partition(transformer("float16"), HW, load, "instinfer")
    assert given.accuracy is None
    assert given.decode_seconds(100) == plan.decode_seconds(100)
    assert given.fingerprint == plan.fingerprint


def test_a_sparsity_that_reads_more_pages_than_exact_attention_is_not_chosen() -> None:
    """At 1/2, with 16 tokens to a page, most pages have a wanted token, and K is read by channel besides."""
    hw = demo_hardware(1).replace("drive.flash.page_bytes", 256)
    found = partition(
        transformer("float16"), hw, LOAD, "instinfer", accuracy_budget=0.002, sensitivities=MEASURED
    )
    assert found.accuracy is not None
    assert found.workload.sparsity is None
    assert (found.accuracy.read, found.accuracy.predicted_loss) == (1.0, 0.0)
    assert "all layers exact" in " ".join(found.report().split())


@pytest.mark.parametrize("hw", [demo_hardware(0), HW], ids=["entries", "pages"])
def test_a_window_leaves_little_to_save(hw: HardwareSpec) -> None:
    """Of two layers, one of which may attend sparsely, it is the one that reads all tokens, though it loses more."""
    config = transformer("float16").config.replace(window=16, num_full_layers=1)
    found = partition(
        Transformer(config, rngs=nnx.Rngs(0)),
        hw,
        LOAD,
        accuracy_budget=0.005,
        sensitivities=sensitivities([(0.004,), (0.003,)]),
    )
    assert found.accuracy is not None
    assert found.accuracy.sparsity == (SparF.ratio(2), None)


@pytest.mark.parametrize("num_drives", [0, 1])
def test_entries_count_where_no_page_is_read(num_drives: int) -> None:
    """No drive, or a cache that stays in the drive's memory since it fills no page."""
    found = partition(
        transformer("float16"),
        demo_hardware(num_drives),
        Workload(1, 9, 8),
        accuracy_budget=0.01,
        sensitivities=MEASURED,
    )
    assert found.accuracy is not None
    assert found.accuracy.sparsity == (SparF.ratio(4), None)
    assert 0.5 < found.accuracy.read < 0.8


def test_plan_files_keep_the_choice(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    plan.save(path)
    assert Plan.load(path, transformer("float16")).accuracy == plan.accuracy
    path.write_text(path.read_text().replace('"predicted_loss"', '"loss"'))
    with pytest.raises(PlanError, match="accuracy has the fields budget, predicted_loss, read and sparsity"):
        Plan.load(path, transformer("float16"))
    with pytest.raises(AccuracyError, match="finite numbers of at least 0 as budget"):
        AccuracyChoice.from_dict({"budget": -1, "predicted_loss": 0, "read": 1, "sparsity": None})


def test_the_model_names_its_file(tmp_path: Path) -> None:
    MEASURED.save(tmp_path / "s.json")
    model = transformer("float16")
    model.sensitivities = tmp_path / "s.json"
    try:
        plan = partition(model, HW, LOAD, "instinfer", accuracy_budget=0.002)
    finally:
        model.sensitivities = None
    assert plan.accuracy is not None
    assert plan.accuracy.predicted_loss <= 0.002


def test_what_cannot_be_chosen_from_is_refused() -> None:
    model = transformer("float16")
    with pytest.raises(AccuracyError, match="needs measured losses, and this model has none; measure them"):
        partition(model, HW, LOAD, accuracy_budget=0.01)
    with pytest.raises(AccuracyError, match=r"of 1 layers .* measure this model"):
        partition(model, HW, LOAD, accuracy_budget=0.01, sensitivities=sensitivities([(0.1,)]))
    sparse = Workload(2, 96, 32, SparF.ratio(8))
    with pytest.raises(WorkloadError, match="leave one of them out"):
        partition(model, HW, sparse, accuracy_budget=0.01, sensitivities=MEASURED)
    with pytest.raises(AccuracyError, match=r"0.01 allows 1 %"):
        partition(model, HW, LOAD, accuracy_budget=2.0, sensitivities=MEASURED)
