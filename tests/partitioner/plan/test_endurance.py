"""What a plan writes to flash, worked out by hand, and the paper's figure."""

import json
from dataclasses import replace
from functools import cache

import pytest

from cost_models import RELAXED_RETENTION, HardwareSpec
from models import abstract
from partitioner import Plan, SparF, Workload, partition
from partitioner.drive_cache import WITH_SECOND_K
from partitioner.plan.report import SECTIONS
from partitioner.plan.report.figures import Figures
from tests.partitioner.plan.plans import (
    WIDE,
    forced_plan,
    mixed_plan,
    one_token_plan,
    turns_plan,
    ways,
    wide_plan,
)

LAYERS, HEADS, PAGE, GROUP = 2, 8, 4096, 32  # the wide model: 64 float16 a head, 128 B, 32 tokens a page
BATCH, PROMPT, NEW = 2, 96, 32
GPU, CSD = ways("gpu", "gpu", "gpu"), ways("gpu", "csd", "csd")


@cache
def short_plan() -> Plan:
    return partition(abstract(WIDE), "demo", Workload(2, 8, 4), "instinfer")


def test_whole_pages_are_counted_by_phase() -> None:
    found = wide_plan("instinfer").endurance
    assert found is not None
    (drive,) = found.drives
    lanes = 2 * LAYERS * BATCH * HEADS  # K and V
    assert drive.prefill_bytes == lanes * (PROMPT // GROUP) * PAGE
    # the last new token is not fed back: 127 tokens are cached, of which the prompt's 96 fill three pages and no more fill one
    assert drive.decode_bytes == 0
    assert found.generation_bytes == drive.generation_bytes == lanes * 3 * PAGE
    assert found.bytes_per_new_token == found.generation_bytes / (BATCH * NEW)
    assert found.bytes_per_kv_token == 2 * LAYERS * HEADS * 64 * 2


def test_decode_fills_pages_too() -> None:
    plan = partition(abstract(WIDE), "demo", Workload(2, 40, 60), "flexgen-ssd")
    found = plan.endurance
    assert found is not None
    lanes = 2 * LAYERS * BATCH * HEADS
    assert found.drives[0].prefill_bytes == lanes * PAGE
    assert found.drives[0].decode_bytes == lanes * (99 // GROUP - 1) * PAGE


def test_drives_share_the_writes() -> None:
    one, four = wide_plan("instinfer").endurance, wide_plan("instinfer", 4).endurance
    assert one is not None
    assert four is not None
    assert [d.device for d in four.drives] == ["csd0", "csd1", "csd2", "csd3"]
    assert {d.generation_bytes for d in four.drives} == {one.generation_bytes / 4}
    assert four.generation_bytes == one.generation_bytes
    assert four.lifetime_kv_tokens() == 4 * one.lifetime_kv_tokens()


def test_every_micro_batch_writes_its_part() -> None:
    turns, whole = turns_plan().endurance, forced_plan(CSD, GPU).endurance
    assert turns is not None
    assert whole is not None
    # half of the KV heads are on the drive, in two micro-batches of one row each
    assert turns.generation_bytes == whole.generation_bytes / 2 > 0
    assert turns.bytes_per_kv_token == whole.bytes_per_kv_token / 2


def test_rates_follow_the_predicted_speed() -> None:
    plan = wide_plan("instinfer")
    found = plan.endurance
    assert found is not None
    (drive,) = found.drives
    capacity = plan.hw.drives[0].flash.capacity_bytes
    per_day = found.generation_bytes / plan.total_seconds * 86400
    assert drive.writes_per_day == pytest.approx(per_day / capacity)
    assert found.years() == pytest.approx(3000 * capacity / per_day / 365.25)
    assert found.years(RELAXED_RETENTION) == pytest.approx(6.67 * 3000 * capacity / per_day / 365.25)


def test_a_part_of_the_layers_on_the_drive() -> None:
    plan = mixed_plan()
    found = plan.endurance
    assert found is not None
    fractions = sum(s.fraction for shares in plan.caches.values() for s in shares if s.device == "csd0")
    attention = next(op.attention for op in plan.ops("decode") if op.attention)
    per_layer = 2 * attention.num_kv_heads * attention.head_size * 2  # float16
    assert found.bytes_per_kv_token == pytest.approx(fractions * per_layer)


def test_no_cache_on_flash_is_no_wear() -> None:
    plan = wide_plan("gpu-only")
    assert plan.endurance is None
    assert SECTIONS["endurance"](Figures(plan)) == []
    assert "Endurance" not in plan.report()
    assert "\n\n\n" not in plan.report()
    assert plan.to_dict()["predicted"]["endurance"] is None


def test_a_context_that_fills_no_page_lasts_for_ever() -> None:
    found = short_plan().endurance
    assert found is not None
    assert found.generation_bytes == 0
    assert found.years() is None
    assert "-" in SECTIONS["endurance"](Figures(short_plan()))[4].split()
    assert json.loads(json.dumps(short_plan().to_dict()))["predicted"]["endurance"]["years"] is None


def test_a_prefill_alone_writes_its_prompt() -> None:
    found = one_token_plan().endurance
    assert found is not None
    assert (found.drives[0].decode_bytes, found.num_new_tokens) == (0, 2)
    assert found.drives[0].prefill_bytes > 0


def test_the_papers_tokens_per_life() -> None:
    # InstInfer (arXiv 2409.04992), endurance: OPT-13B, 4 drives of 2 TB, 0.78 MB of KV per token: 3.226e10 tokens
    hw = HardwareSpec.load("a6000-csd").with_drives(4)
    found = partition(abstract("opt-13b"), hw, Workload(16, 64, 32), "instinfer").endurance
    assert found is not None
    assert found.bytes_per_kv_token / 2**20 == pytest.approx(0.78, rel=0.01)
    assert found.lifetime_kv_tokens() == pytest.approx(3.226e10, rel=0.002)
    assert found.lifetime_kv_tokens(copies=WITH_SECOND_K) == pytest.approx(3.226e10 / 1.5, rel=0.002)


def test_a_report_tells_the_papers_tokens_with_one_copy_of_k_and_with_two() -> None:
    hw = HardwareSpec.load("a6000-csd").with_drives(4)
    load = Workload(16, 64, 32)
    exact, sparse = (
        " ".join(partition(abstract("opt-13b"), hw, replace(load, sparsity=s), "instinfer").report().split())
        for s in (None, SparF.ratio(8))
    )
    assert (
        "worn out after 3.221e10 tokens, of prompts or new; 2.147e10 if K were kept by channel too" in exact
    )
    assert "worn out after 2.147e10 tokens, of prompts or new; 3.221e10 if K were kept once" in sparse


def test_a_report_says_when_drives_lack_memory_for_tokens_that_fill_a_page() -> None:
    plan = partition(abstract("opt-13b"), "a6000-csd", Workload(256, 1024, 1024), "instinfer")
    text = " ".join(plan.report().split())
    # 256 sequences x 40 layers x 40 heads x 2 pages of 4 KiB are 3.36 GB; the board has 2 GB
    assert "mapping tables take 3.77 GB of the 2.00 GB of memory that csd0 has, WHICH IS TOO MUCH" in text
