"""The rules of a plan: plans that the partitioner makes keep them, and a twin that breaks one is refused."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from partitioner import Plan, PlanError
from partitioner.plan.steps import Move, Run, Share
from partitioner.plan.verify_plan import verify_plan
from tests.partitioner.plan.changed_plans import (
    changed,
    is_kind,
    number_of,
    with_segment,
    with_step,
    without,
)
from tests.partitioner.plan.plans import (
    forced_plan,
    mixed_plan,
    roomy,
    shared,
    tiny_plan,
    unraised_plan,
    ways,
    wide_plan,
)

GPU = ways("gpu", "gpu", "gpu")
CSD = ways("gpu", "csd", "csd")
PLANS: dict[str, Callable[[], Plan]] = {
    "one device": lambda: roomy(forced_plan(GPU, GPU)),
    "two drives": lambda: roomy(forced_plan(CSD, GPU, num_drives=2)),
    "more drives than heads": lambda: roomy(forced_plan(CSD, GPU, num_drives=11)),
    "attention on the host": lambda: roomy(forced_plan(ways("gpu", "host", "host"), GPU)),
    "three tiers": lambda: roomy(forced_plan(shared(gpu=2, host=2, csd=4), GPU, num_drives=2)),
    "streamed cache": lambda: roomy(forced_plan(ways("gpu", "gpu", "csd"), GPU, num_drives=2)),
    "streamed weights": lambda: roomy(forced_plan(GPU, GPU, up=ways("gpu", "gpu", "host"))),
}


def refused(message: str) -> pytest.RaisesExc[PlanError]:
    """Expects a plan to be refused with a message that holds this text."""
    return pytest.raises(PlanError, match=re.escape(message))


@pytest.mark.parametrize("name", PLANS)
def test_made_plans_are_sound(name: str) -> None:
    verify_plan(PLANS[name]())


@pytest.mark.parametrize(
    "make", [mixed_plan, unraised_plan, lambda: tiny_plan("instinfer"), lambda: wide_plan("flexgen-ssd")]
)
def test_found_plans_are_sound(make: Callable[[], Plan]) -> None:
    verify_plan(make())


class TestOrder:
    def test_steps_are_numbered(self) -> None:
        broken = with_step(PLANS["two drives"](), "decode", 3, id=7)
        with refused("decode: step 3 is numbered 7"):
            verify_plan(broken)

    @pytest.mark.parametrize("waits_for", [2, 5, -1])
    def test_a_step_waits_for_earlier_ones(self, waits_for: int) -> None:
        broken = with_step(PLANS["two drives"](), "decode", 2, after=(waits_for,))
        with refused(f"step 2 waits for step {waits_for}, which does not come before it"):
            verify_plan(broken)


class TestCoverage:
    def test_every_op_is_in_a_segment(self) -> None:
        plan = PLANS["two drives"]()
        broken = with_segment(plan, "decode", 0, ops=plan.decode.segments[0].ops[1:])
        with refused("not every op is in exactly one segment: ['embed.token']"):
            verify_plan(broken)

    def test_no_op_is_in_two(self) -> None:
        plan = PLANS["two drives"]()
        broken = with_segment(plan, "decode", 0, ops=(*plan.decode.segments[0].ops, "logits"))
        with refused("not every op is in exactly one segment: ['logits']"):
            verify_plan(broken)

    def test_segments_are_numbered(self) -> None:
        with refused("segment 2 is numbered 9"):
            verify_plan(with_segment(PLANS["two drives"](), "decode", 2, index=9))

    def test_every_segment_is_run(self) -> None:
        broken = without(PLANS["two drives"](), "decode", lambda s: isinstance(s, Run) and s.segment == 2)
        with refused("segment 'blocks.0.attention.out .. blocks.1.attention.value' is never run"):
            verify_plan(broken)

    def test_no_segment_is_run_twice(self) -> None:
        plan = PLANS["one device"]()
        run = plan.decode.steps[0]
        broken = changed(plan, "decode", steps=(run, replace(run, id=1, after=(0,))))
        with refused("is run 2 times"):
            verify_plan(broken)

    def test_a_run_names_a_segment_there_is(self) -> None:
        plan = PLANS["one device"]()
        run = plan.decode.steps[0]
        with refused("there is no segment 5 to run"):
            verify_plan(changed(plan, "decode", steps=(run, replace(run, id=1, segment=5))))


class TestValues:
    def test_a_value_has_to_be_brought(self) -> None:
        broken = without(PLANS["attention on the host"](), "decode", is_kind("hand_over", dst="host"))
        with refused("'blocks.0.attention' reads a value that is not on host by then"):
            verify_plan(broken)

    def test_a_value_has_to_be_waited_for(self) -> None:
        plan = PLANS["attention on the host"]()
        second = [s.id for s in plan.decode.steps if isinstance(s, Run)][1]
        with refused("'blocks.0.attention' reads a value that is not on host by then"):
            verify_plan(with_step(plan, "decode", second, after=(0,)))

    def test_a_move_takes_what_is_there(self) -> None:
        plan = PLANS["attention on the host"]()
        number = number_of(plan.decode.steps, "hand_over")
        with refused("move 1 (hand_over) takes a value from csd0 that is not there by then"):
            verify_plan(with_step(plan, "decode", number, src="csd0", dst="host"))

    def test_a_move_waits_for_what_it_takes(self) -> None:
        plan = PLANS["two drives"]()
        with refused("move 1 (hand_over) takes a value from gpu0 that is not there by then"):
            verify_plan(with_step(plan, "decode", 1, after=()))

    def test_all_parts_of_an_output_have_to_arrive(self) -> None:
        plan = PLANS["two drives"]()
        last = max(s.id for s in plan.decode.steps if isinstance(s, Run) and s.segment == 2)
        step = plan.decode.steps[last]
        arrived = [i for i in step.after if isinstance(plan.decode.steps[i], Move)]
        assert len(arrived) == 2
        with refused("reads a value that is not on gpu0 by then"):
            verify_plan(with_step(plan, "decode", last, after=(0, arrived[0])))

    def test_a_path_has_to_exist(self) -> None:
        plan = PLANS["attention on the host"]()
        number = number_of(plan.decode.steps, "hand_over")
        with refused("takes the path 'p2p' from gpu0 to host; there is via_host"):
            verify_plan(with_step(plan, "decode", number, path="p2p"))

    def test_the_logits_have_to_be_made(self) -> None:
        plan = PLANS["one device"]()
        segment = plan.decode.segments[0]
        kept = tuple(v for v in segment.outputs if plan.decode.graph.output_of[v].role != "logits")
        with refused("decode: no segment gives the logits"):
            verify_plan(with_segment(plan, "decode", 0, outputs=kept))

    def test_a_segment_runs_where_it_was_planned(self) -> None:
        with refused("is planned for gpu0 and run on host"):
            verify_plan(with_step(PLANS["one device"](), "decode", 0, device="host"))

    def test_a_buffer_that_was_given_away_is_not_read(self) -> None:
        plan = PLANS["streamed weights"]()
        positions = next(i.var for i in plan.decode.graph.phase.inputs if i.role == "position")
        broken = with_segment(plan, "decode", 0, donated=(positions,))
        with refused("reads 'positions' after its buffer was given away"):
            verify_plan(broken)


class TestWeights:
    def test_a_parameter_has_a_home(self) -> None:
        plan = PLANS["one device"]()
        homes = {n: d for n, d in plan.homes.items() if n != "norm.scale"}
        with refused("parameter 'norm.scale' has no home; give it one of"):
            verify_plan(replace(plan, homes=homes))

    def test_a_home_exists(self) -> None:
        plan = PLANS["one device"]()
        with refused("parameter 'norm.scale' lives on csd7, and demo has"):
            verify_plan(replace(plan, homes={**plan.homes, "norm.scale": "csd7"}))

    def test_a_parameter_that_lives_elsewhere_is_streamed(self) -> None:
        plan = PLANS["one device"]()
        homes = {**plan.homes, "norm.scale": "host"}
        with refused("reads 'norm.scale', which lives on host and is not streamed to gpu0"):
            verify_plan(replace(plan, homes=homes))

    def test_a_copy_will_do(self) -> None:
        plan = PLANS["one device"]()
        verify_plan(
            replace(plan, homes={**plan.homes, "norm.scale": "host"}, copies={"norm.scale": ("gpu0",)})
        )

    def test_a_stream_is_waited_for(self) -> None:
        plan = PLANS["streamed weights"]()
        using = next(s.id for s in plan.decode.steps if isinstance(s, Run) and s.segment == 1)
        with refused("reads 'blocks.0.mlp.up.kernel', which lives on host and is not streamed"):
            verify_plan(with_step(plan, "decode", using, after=(0,)))

    def test_a_stream_comes_from_a_home(self) -> None:
        plan = PLANS["streamed weights"]()
        number = number_of(plan.decode.steps, "stream_weights")
        with refused("streams 'blocks.0.mlp.up.kernel' from csd0, which does not keep it"):
            verify_plan(with_step(plan, "decode", number, src="csd0", path="p2p"))


class TestCaches:
    def test_a_cache_lives_where_its_attention_runs(self) -> None:
        plan = PLANS["one device"]()
        caches = {n: tuple(replace(s, device="host") for s in shares) for n, shares in plan.caches.items()}
        with refused("'blocks.0.attention' runs on gpu0 and its cache lives elsewhere"):
            verify_plan(replace(plan, caches=caches, prefill=None))

    @pytest.mark.parametrize("kind", ["stream_cache", "append_cache"])
    @pytest.mark.parametrize("drive", ["csd0", "csd1"])
    def test_every_share_is_streamed_and_kept_up_to_date(self, kind: str, drive: str) -> None:
        src, dst = (drive, "") if kind == "stream_cache" else ("", drive)
        broken = without(PLANS["streamed cache"](), "decode", is_kind(kind, src=src, dst=dst))
        message = {
            "stream_cache": "'blocks.0.attention' runs on gpu0, and not all of its cache is streamed there by then",
            "append_cache": "the new k and v of 'blocks.0.attention' do not reach all of its cache",
        }
        with refused(f"decode: {message[kind]}"):
            verify_plan(broken)

    def test_a_streamed_cache_is_waited_for(self) -> None:
        plan = PLANS["streamed cache"]()
        using = next(s for s in plan.decode.steps if isinstance(s, Run) and s.segment == 1)
        first = next(i for i in using.after if is_kind("stream_cache")(plan.decode.steps[i]))
        rest = tuple(i for i in using.after if i != first)
        with refused("not all of its cache is streamed there by then"):
            verify_plan(with_step(plan, "decode", using.id, after=rest))

    @pytest.mark.parametrize("name", ["one device", "two drives", "attention on the host"])
    def test_what_a_prefill_makes_is_stored(self, name: str) -> None:
        plan = PLANS[name]()
        last = number_of(plan.phase("prefill").steps, "store_cache", last=True)
        broken = without(plan, "prefill", lambda s: s.id == last)
        with refused("prefill: not all of the K and V of 'blocks.1.attention' are stored where"):
            verify_plan(broken)

    def test_nothing_is_stored_twice(self) -> None:
        plan = PLANS["two drives"]()
        first, second, *_ = (s for s in plan.phase("prefill").steps if isinstance(s, Move))
        broken = with_step(plan, "prefill", second.id, dst=first.dst, share=first.share)
        with refused("not all of the K and V of 'blocks.0.attention' are stored"):
            verify_plan(broken)

    def test_a_share_is_stored_on_its_drive(self) -> None:
        plan = PLANS["two drives"]()
        number = number_of(plan.phase("prefill").steps, "store_cache")
        with refused("(store_cache) names no share of the cache of 'blocks.0.attention' on csd1"):
            verify_plan(with_step(plan, "prefill", number, dst="csd1"))

    def test_every_drive_with_a_share_attends(self) -> None:
        plan = PLANS["two drives"]()
        idle = [s.id for s in plan.decode.steps if isinstance(s, Run) and s.device == "csd1"][-1]
        output = next(s.id for s in plan.decode.steps if idle in s.after)
        broken = without(plan, "decode", lambda s: s.id in (idle, output))
        with refused("not every device that holds a share of 'blocks.1.attention' attends"):
            verify_plan(broken)

    @pytest.mark.parametrize("device", ["csd1", "host"])
    def test_a_drive_attends_to_its_own_share(self, device: str) -> None:
        plan = PLANS["two drives"]()
        run = next(s.id for s in plan.decode.steps if isinstance(s, Run) and s.device == "csd0")
        with refused(f"'blocks.0.attention' runs on {device}, which holds no such share"):
            verify_plan(with_step(plan, "decode", run, device=device))

    def test_a_drive_needs_its_operands(self) -> None:
        plan = PLANS["two drives"]()
        run = next(s.id for s in plan.decode.steps if isinstance(s, Run) and s.device == "csd0")
        with refused("'blocks.0.attention' lacks q, k or v on csd0 by then"):
            verify_plan(with_step(plan, "decode", run, after=()))

    def test_only_an_attention_is_a_command(self) -> None:
        plan = PLANS["one device"]()
        broken = with_segment(plan, "decode", 0, attention="embed.token")
        with refused("'embed.token' is a command and no attention"):
            verify_plan(broken)


class TestShares:
    @pytest.mark.parametrize(
        "spoil",
        [
            lambda shares: shares[:1],
            lambda shares: (*shares, shares[0]),
            lambda shares: (shares[0], replace(shares[1], kv_heads=(4, 7))),
            lambda shares: (shares[0], replace(shares[1], rows=(0, 1))),
            lambda shares: (shares[0], replace(shares[1], kv_heads=(3, 7))),
            lambda shares: (shares[0], replace(shares[1], kv_heads=(4, 9))),
            lambda shares: (shares[0], replace(shares[1], rows=(0, 3))),
            lambda shares: (replace(shares[0], rows=(-2, 2)), shares[1]),
        ],
        ids=[
            "missing",
            "twice",
            "too few heads",
            "too few rows",
            "overlapping",
            "head beyond",
            "row beyond",
            "before",
        ],
    )
    def test_shares_hold_everything_once(
        self, spoil: Callable[[tuple[Share, ...]], tuple[Share, ...]]
    ) -> None:
        plan = PLANS["two drives"]()
        name = "blocks.1.attention"
        broken = replace(plan, caches={**plan.caches, name: spoil(plan.caches[name])})
        with refused(f"the cache shares of {name!r} do not hold each of 2 rows x 8 KV heads exactly"):
            verify_plan(broken)

    def test_a_share_says_how_much_it_is(self) -> None:
        plan = PLANS["two drives"]()
        name = "blocks.1.attention"
        first, second = plan.caches[name]
        broken = replace(plan, caches={**plan.caches, name: (replace(first, fraction=0.6), second)})
        with refused(f"share of {name!r} on csd0 says 0.600000 of it and holds 0.500000"):
            verify_plan(broken)


class TestCapacity:
    def test_what_lives_on_a_device_fits(self) -> None:
        plan = PLANS["one device"]()
        row = plan.resident_bytes()["gpu0"]
        used = row["weights"] + row["kv_cache"] + row["reserve"]
        exact, short = (
            replace(plan, hw=replace(plan.hw, gpus=(replace(plan.hw.gpus[0], memory_bytes=size),)))
            for size in (used, used - 1)
        )
        verify_plan(exact)
        with refused(f"gpu0 would hold {used:.0f} bytes of {used - 1:.0f}; lower the batch"):
            verify_plan(short)

    def test_drives_fill_up_too(self) -> None:
        plan = PLANS["two drives"]()
        held = plan.resident_bytes()["csd1"]["kv_cache"]
        flash = plan.hw.drives[1].flash
        small = replace(
            plan.hw.drives[1], flash=replace(flash, blocks_per_plane=1, pages_per_block=1, page_bytes=512)
        )
        assert small.flash.capacity_bytes < held
        broken = replace(plan, hw=replace(plan.hw, drives=(plan.hw.drives[0], small)))
        with refused("csd1 would hold"):
            verify_plan(broken)
