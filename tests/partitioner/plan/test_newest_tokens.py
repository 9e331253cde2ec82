"""Plans in which host memory keeps the newest tokens of what drives hold: what they say, and what they must keep to."""

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from models import abstract
from partitioner import Plan, PlanError, SparF, Workload, partition
from partitioner.plan.plan_data import decisions_from_dict, decisions_to_dict
from partitioner.plan.residency import drive_memory_bytes
from partitioner.plan.steps import Move, Run, Share
from partitioner.plan.verify_plan import verify_plan
from partitioner.token_cut import TokenCut
from tests.partitioner.plan.changed_plans import is_kind, number_of, with_step, without
from tests.partitioner.plan.plans import WIDE, WIDE_LOAD, forced_plan, roomy, shared, ways

PAGE = 32
"""Tokens of 64 elements of float16 in a page of 4 KiB."""
ROOM = 64


@cache
def windowed(room: int = ROOM, gpu: int = 2, num_drives: int = 2) -> Plan:
    """Returns a plan of the wide model whose drives have 6 of 8 KV heads, but for the newest tokens."""
    split = shared(gpu=gpu, csd=8 - gpu) if gpu else shared(csd=8)
    return roomy(forced_plan(replace(split, newest=room), ways("gpu", "gpu", "gpu"), num_drives))


def first_shares(plan: Plan) -> tuple[Share, ...]:
    return next(iter(plan.caches.values()))


def test_a_window_is_a_part_of_its_own() -> None:
    plan = windowed()
    verify_plan(plan)
    gpu, *older, window = first_shares(plan)
    assert (gpu.device, gpu.cut) == ("gpu0", None)
    assert [s.device for s in older] == ["csd0", "csd1"]
    assert {s.cut for s in older} == {TokenCut("older", ROOM, PAGE)}
    assert (window.device, window.kv_heads, window.cut) == ("host", (2, 8), TokenCut("newest", ROOM, PAGE))
    middle = plan.middle_context
    shares = plan.device_of("decode", "blocks.0.attention")
    assert sum(shares.values()) == pytest.approx(1.0)
    in_window = middle - window.cut.departed(middle - 1)
    assert shares["host"] == pytest.approx(0.75 * in_window / middle)


def test_each_place_keeps_its_tokens_and_drives_gather_none() -> None:
    plan, without_window = windowed(), roomy(forced_plan(shared(gpu=2, csd=6), ways("gpu", "gpu", "gpu"), 2))
    token = 2 * 2 * 64 * 2 * 2  # rows x K and V x elements x bytes x layers, of one KV head
    table, before = plan.resident_bytes(), without_window.resident_bytes()
    assert table["host"]["kv_cache"] == 6 * token * ROOM
    assert table["csd0"]["kv_cache"] == 3 * token * (WIDE_LOAD.max_len - ROOM)
    assert before["csd0"]["kv_cache"] == 3 * token * WIDE_LOAD.max_len
    gathering = 2 * 3 * 2 * 2 * 4096  # layers x heads x rows x K and V x page
    memory = drive_memory_bytes(without_window)["csd0"] - drive_memory_bytes(plan)["csd0"]
    assert memory == gathering


def test_the_newest_tokens_are_never_programmed() -> None:
    """127 tokens have K and V at the end; without a window 3 pages of 32 are full, with one of 64 rooms 2 have left."""
    wear = windowed().endurance
    plain = roomy(forced_plan(shared(gpu=2, csd=6), ways("gpu", "gpu", "gpu"), 2)).endurance
    assert wear is not None
    assert plain is not None
    page = 2 * 2 * 4096 * 3 * 2  # rows x K and V x page x heads x layers
    assert [d.prefill_bytes for d in plain.drives] == [3 * page] * 2
    assert [d.prefill_bytes for d in wear.drives] == [2 * page] * 2
    assert [d.decode_bytes for d in wear.drives] == [0.0] * 2


@pytest.mark.parametrize("room", [PAGE, ROOM, 96])
def test_time_is_that_of_the_slowest_part_with_fewer_pages(room: int) -> None:
    plan = windowed(room, gpu=0)
    attention = plan.decode.op["blocks.0.attention"].attention
    assert attention is not None
    older, _, window = first_shares(plan)
    whole = replace(older, cut=None)
    cost = plan.costing.share_attend_cost
    for context in (97, 112, 127):
        stored = context - (context - 1 - room) // PAGE * PAGE - PAGE
        assert window.cut is not None
        assert window.cut.attended(context) == stored
        assert cost(attention, older, context).seconds <= cost(attention, whole, context).seconds
        pages = (context - stored) // PAGE
        same = cost(attention, whole, pages * PAGE).seconds if pages else 0.0
        assert cost(attention, older, context).seconds == pytest.approx(same, rel=1e-3)


def test_pages_leave_behind_all_who_read_them() -> None:
    plan = windowed()
    moves = [s for s in plan.decode.steps if isinstance(s, Move) and s.kind == "page_out"]
    assert {(m.src, m.dst) for m in moves} == {("host", "csd0"), ("host", "csd1")}
    assert len(moves) == 4
    one_token = 2 * 2 * 3 * 64 * 2  # rows x K and V x heads x elements x bytes
    assert {m.num_bytes for m in moves} == {one_token}
    assert plan.move_bytes("decode", moves[0], ROOM) == one_token
    assert plan.move_bytes("decode", moves[0], ROOM - 1) == 0


def test_reports_say_where_the_newest_tokens_are() -> None:
    plan = windowed()
    report = " ".join(plan.report().split())
    assert (
        "decode attention and its KV cache on gpu0 25 %, host 32 %, csd0-1 43 % (2 of 2 layers split)"
        in report
    )
    assert (
        "Of 2 caches of blocks.*.attention on csd0-1, the newest 64 tokens of each sequence live in host memory, 393 kB; "
        "csd0-1 get them later, 32 tokens at a time, as whole pages." in report
    )
    assert "full pages of blocks.*.attention host csd0-1 direct behind" in report
    assert "q of blocks.*.attention gpu0 csd0-1" in report
    explained = str(plan.explain("blocks.*.attention"))
    assert "host 32 %" in explained
    plain = roomy(forced_plan(shared(gpu=2, csd=6), ways("gpu", "gpu", "gpu"), 2))
    assert "host 32 %" in str(plain.diff(plan))
    assert "newest 64 tokens on host" in str(plan.decisions.ops["blocks.0.attention"])


def test_a_plan_file_keeps_the_windows(tmp_path: Path) -> None:
    plan = windowed(gpu=0)
    decisions = decisions_from_dict(decisions_to_dict(plan.decisions))
    assert decisions == plan.decisions
    plan.save(tmp_path / "plan.json")
    loaded = Plan.load(tmp_path / "plan.json", abstract(WIDE))
    assert loaded.report() == plan.report()
    assert loaded.caches == plan.caches


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"newest": 0}, "newest must be a whole number of at least 1, got 0"),
        ({"split": {"gpu": 2, "host": 6}}, "give it with a split that has a csd share and no host share"),
        ({"split": {"host": 2, "csd": 6}}, "give it with a split that has a csd share and no host share"),
        ({"newest": 40}, "give one room of whole pages for all"),
        ({"policy": "instinfer"}, "does not allow"),
        ({"sparsity": True}, "drives would choose among the others alone"),
    ],
)
def test_files_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    change = dict(change)
    data = windowed(gpu=0).to_dict()
    data["policy"] = change.pop("policy", "auto")
    if change.pop("sparsity", False):
        data["workload"] = replace(WIDE_LOAD, sparsity=SparF.ratio(8)).to_dict()
    for op in data["decisions"]["ops"].values():
        if "newest" in op:
            op.update(change)
    (tmp_path / "plan.json").write_text(json.dumps(data))
    with pytest.raises(PlanError, match=re.escape(message)):
        Plan.load(tmp_path / "plan.json", abstract(WIDE))


def test_what_breaks_a_window_is_refused() -> None:
    plan = windowed()
    gpu, first, second, window = first_shares(plan)
    older = number_of(plan.decode.steps, "page_out")
    host = next(s.id for s in plan.decode.steps if isinstance(s, Run) and s.share == window)
    twins = {
        "tokens do not leave for every drive": without(plan, "decode", is_kind("page_out", dst="csd1")),
        "not the two parts of one cache": with_step(plan, "decode", older, src="csd1", path="p2p"),
        "before all who read them there or on host are done": with_step(plan, "decode", older, after=(host,)),
        "does not have the rows and KV heads of the older ones exactly once": with_caches(
            plan, (gpu, first, second, replace(window, kv_heads=(3, 8), fraction=5 / 8))
        ),
        "give one room of whole pages": with_caches(
            plan, (gpu, first, second, replace(window, cut=TokenCut("newest", 96, PAGE)))
        ),
    }
    for message, twin in twins.items():
        with pytest.raises(PlanError, match=re.escape(message)):
            verify_plan(twin)


def with_caches(plan: Plan, shares: tuple[Share, ...]) -> Plan:
    return replace(plan, caches=dict.fromkeys(plan.caches, shares))


def test_policies_of_published_systems_have_no_windows() -> None:
    for policy in ("instinfer", "flexgen-ssd", "host-attention"):
        plan = partition(abstract(WIDE), "demo", Workload(2, 32, 8), policy)
        assert not any(decision.newest for decision in plan.decisions.ops.values())
