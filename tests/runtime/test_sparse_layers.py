"""Plans that attend sparsely in some layers only: drives keep K a second time in these layers and in no other."""

from typing import Any

import pytest

from partitioner import SparF, Workload, partition
from partitioner.plan.plan import Plan
from partitioner.plan.residency import drive_memory_bytes
from runtime import Session
from runtime.drive_tasks import drive_tasks
from tests.runtime.tiny_models import demo_hardware, plain_tokens, transformer

PROMPTS = [list(range(3 * row, 3 * row + 24)) for row in range(4)]
NEW_TOKENS = 20
COVERS = SparF(4, 64)  # more tokens than any context has
EIGHTH = SparF.ratio(8)


def planned(num_drives: int, *layers: SparF | None) -> Plan:
    """Returns a plan for a model of 3 layers on drives whose pages hold 8 tokens."""
    hw = demo_hardware(num_drives).replace("drive.flash.page_bytes", 128)
    load = Workload(4, 24, NEW_TOKENS, layers)
    return partition(transformer("float16", num_layers=3), hw, load, "instinfer")


def generate(plan: Plan) -> Any:
    with Session(plan, transformer("float16", num_layers=3), clock="virtual") as session:
        return session.generate(PROMPTS, max_new_tokens=NEW_TOKENS)


@pytest.mark.parametrize("num_drives", [1, 2])
@pytest.mark.parametrize("layers", [(None, EIGHTH, None), (COVERS, None, COVERS), (EIGHTH, EIGHTH, EIGHTH)])
def test_drives_program_and_reserve_what_the_plan_predicts(
    layers: tuple[SparF | None, ...], num_drives: int
) -> None:
    plan = planned(num_drives, *layers)
    for task in drive_tasks(plan).values():
        assert task.configure.layer_by_channel == tuple(layer is not None for layer in layers)
    result = generate(plan)
    assert plan.endurance is not None
    predicted = {drive.device: drive.generation_bytes for drive in plan.endurance.drives}
    assert {name: health.bytes_programmed for name, health in result.drive_health.items()} == predicted

    reserved = {
        name: health.dram_buffer_bytes + health.dram_mapping_bytes + health.dram_value_sum_bytes
        for name, health in result.drive_health.items()
    }
    assert reserved == drive_memory_bytes(plan)

    # of 43 tokens kept, 5 token pages of K and V are full, and in sparse layers 1 group of 32 tokens by channel, in 4 pages
    sparse = sum(layer is not None for layer in layers)
    assert sum(predicted.values()) == 128 * 4 * 4 * (3 * 2 * 5 + sparse * 4)


def test_a_k_that_covers_the_context_gives_the_plain_model_s_tokens() -> None:
    result = generate(planned(2, None, COVERS, COVERS))
    model = transformer("float16", num_layers=3)
    assert result.tokens == plain_tokens(model, PROMPTS, NEW_TOKENS, 24 + NEW_TOKENS)


def test_layers_that_are_to_be_sparse_are() -> None:
    """Choosing other layers gives other tokens, so the drives do attend as each layer says."""
    found = [
        generate(planned(1, *layers)).tokens
        for layers in ((None, None, COVERS), (None, EIGHTH, None), (EIGHTH, EIGHTH, EIGHTH))
    ]
    assert found[0] != found[1] != found[2] != found[0]


def test_exact_plans_keep_k_once() -> None:
    plan = partition(transformer("float16"), demo_hardware(1), Workload(4, 24, NEW_TOKENS), "instinfer")
    (task,) = drive_tasks(plan).values()
    assert (task.configure.channel_group, task.configure.layer_by_channel) == (None, None)
    assert not any(task.keeps_channels(op) for op in task.layers)
