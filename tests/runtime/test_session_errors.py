"""Whatever goes wrong arrives as one ``SessionError`` that names the cause and what to do."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import pytest
from jax import numpy as jnp

from models import abstract
from partitioner import Workload, partition
from partitioner.frontend import StepFunction, from_step
from partitioner.plan.steps import Move
from partitioner.shares import Share
from runtime import Session, SessionError
from runtime.csd import CapacityError
from tests.runtime.tiny_models import (
    PROMPTS,
    VOCAB,
    WORKLOAD,
    counting_decoder,
    demo_hardware,
    plain_tokens,
    plan_for,
    transformer,
)


def open_and_close(plan: Any, model: Any, clock: Any = "virtual") -> None:
    Session(plan, model, clock).close()


class TestOpening:
    """What a session refuses to be made of."""

    def test_an_unknown_clock(self) -> None:
        with pytest.raises(SessionError, match="unknown clock 'lunar'; use 'wall' or 'virtual'"):
            open_and_close(plan_for(transformer(), "gpu-only"), transformer(), clock="lunar")

    def test_what_is_no_plan(self) -> None:
        with pytest.raises(SessionError, match=r"plan is a str; give what partition\(.*Plan\.load\("):
            open_and_close("plan.json", transformer())

    def test_a_policy_that_is_predicted_only(self) -> None:
        message = r"plans under policy 'flexgen-sparq' are predicted and cannot be run: .*choose policy 'flexgen-ssd'"
        with pytest.raises(SessionError, match=message):
            open_and_close(plan_for(transformer(), "flexgen-sparq"), transformer())

    def test_what_is_no_model(self) -> None:
        with pytest.raises(SessionError, match=r"cannot partition a dict: pass an nnx.Module"):
            open_and_close(plan_for(transformer(), "gpu-only"), {})

    def test_a_model_without_weights(self) -> None:
        model = abstract(transformer().config)
        with pytest.raises(
            SessionError, match=r"small is abstract: .* load weights with models\.load_pretrained"
        ):
            open_and_close(plan_for(model, "gpu-only"), model)

    @pytest.mark.parametrize(
        ("other", "message"),
        [
            (
                lambda: transformer(position="learned"),
                "parameter '.*' the given model lacks; partition it again",
            ),
            (counting_decoder, "the plan is for small, whose parameter .* partition it again"),
            (
                lambda: transformer(num_layers=3),
                r"the plan is for small, which has no parameter 'blocks\.2\..*' as the given model has",
            ),
            (
                lambda: transformer(num_kv_heads=2),
                r"float32\[32, 32\], the given model has float32\[32, 16\]",
            ),
        ],
    )
    def test_another_model(self, other: Callable[[], Any], message: str) -> None:
        with pytest.raises(SessionError, match=message):
            open_and_close(plan_for(transformer(), "gpu-only"), other())

    def test_more_gpus_than_devices(self) -> None:
        wanted = len(jax.devices()) + 1
        plan = partition(transformer(), demo_hardware().with_gpus(wanted), WORKLOAD, "gpu-only")
        message = f"for {wanted} GPUs, and JAX has .* device.*force_host_platform_device_count={wanted}"
        with pytest.raises(SessionError, match=message):
            open_and_close(plan, transformer())

    def test_a_jax_without_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        devices = jax.devices

        def without_cpu(backend: str | None = None) -> Any:
            if backend == "cpu":
                raise RuntimeError("Unknown backend cpu")
            return devices()

        monkeypatch.setattr(jax, "devices", without_cpu)
        with pytest.raises(SessionError, match=r"no CPU device, .* add cpu to .* JAX_PLATFORMS, or unset it"):
            open_and_close(plan_for(transformer(), "gpu-only"), transformer())

    def test_a_drive_with_too_little_memory(self) -> None:
        plan = plan_for(transformer(), "instinfer")
        small = dataclasses.replace(plan, hw=plan.hw.replace("drive.dram_bytes", 1000))
        message = "a drive cannot hold its caches: csd0: drive memory for .* has 1000 bytes of DRAM. Lower the batch"
        with pytest.raises(SessionError, match=message) as caught:
            open_and_close(small, transformer())
        assert isinstance(caught.value.__cause__, CapacityError)

    def test_a_drive_with_too_little_flash(self) -> None:
        plan = plan_for(transformer(), "instinfer")
        hw = plan.hw.replace("drive.flash.page_bytes", 128)
        for count in ("channels", "dies_per_channel", "planes_per_die", "blocks_per_plane"):
            hw = hw.replace(f"drive.flash.{count}", 1)
        message = (
            "a drive cannot hold its caches: csd0: KV cache of 4 sequences x 22 tokens .* Lower the batch"
        )
        with pytest.raises(SessionError, match=message) as caught:
            open_and_close(dataclasses.replace(plan, hw=hw), transformer())
        assert isinstance(caught.value.__cause__, CapacityError)


class TestPlansThatCannotRun:
    """Plans that no solver makes, but a person or a later version may."""

    def test_a_cache_shared_with_a_device_that_does_not_attend(self) -> None:
        plan = plan_for(transformer(), "instinfer")
        shares = (Share("csd0", (0, 4), (0, 2), 0.5), Share("gpu0", (0, 4), (2, 4), 0.5))
        mixed = dataclasses.replace(plan, caches=dict.fromkeys(plan.caches, shares))
        message = "shared between csd0, gpu0, and the decode attends to other shares on csd0; partition again"
        with pytest.raises(SessionError, match=message):
            open_and_close(mixed, transformer())

    def test_a_cache_in_parts_for_an_attention_on_one_device(self) -> None:
        plan = plan_for(transformer(), "gpu-only")
        shares = (Share("host", (0, 4), (0, 2), 0.5), Share("gpu0", (0, 4), (2, 4), 0.5))
        mixed = dataclasses.replace(plan, caches=dict.fromkeys(plan.caches, shares))
        with pytest.raises(
            SessionError, match="shared between host, gpu0, and none of them attends to its share; give"
        ):
            open_and_close(mixed, transformer())

    def test_two_shares_on_one_drive(self) -> None:
        plan = plan_for(transformer(), "instinfer")
        shares = (Share("csd0", (0, 4), (0, 4), 0.5),) * 2
        twice = dataclasses.replace(plan, caches=dict.fromkeys(plan.caches, shares))
        with pytest.raises(SessionError, match=r"csd0 has two shares of .*; partition again with one share"):
            open_and_close(twice, transformer())

    def test_layers_with_two_kinds_of_heads_on_one_drive(self) -> None:
        plan = plan_for(transformer(), "instinfer")
        ops = [dataclasses.replace(op) for op in plan.decode.graph.ops]
        last = max(i for i, op in enumerate(ops) if op.attention)
        attention = ops[last].attention
        assert attention is not None
        ops[last] = dataclasses.replace(ops[last], attention=dataclasses.replace(attention, head_size=16))
        graph = dataclasses.replace(plan.decode.graph, ops=tuple(ops))
        odd = dataclasses.replace(plan, decode=dataclasses.replace(plan.decode, graph=graph))
        message = r"csd0 would hold heads of two kinds, 1 x 8 float32 of .* and 1 x 16 float32 of .*; a drive keeps one"
        with pytest.raises(SessionError, match=message):
            open_and_close(odd, transformer())

    def test_micro_batches_that_do_not_make_up_the_batch(self) -> None:
        plan = plan_for(transformer(), "instinfer")
        short = dataclasses.replace(plan, workload=Workload(6, 12, 10))
        with pytest.raises(
            SessionError, match="1 micro-batches of 4 rows do not make up the batch of 6; partition again"
        ):
            open_and_close(short, transformer())

    def test_a_weight_on_a_drive(self) -> None:
        plan = plan_for(transformer(), "gpu-only")
        name = next(iter(plan.homes))
        moved = dataclasses.replace(plan, homes={**plan.homes, name: "csd0"})
        with pytest.raises(SessionError, match=f"keeps the parameter '{name}' on csd0; .* gpu0 and host"):
            open_and_close(moved, transformer())

    def test_a_prefill_that_does_not_divide_the_batch(self) -> None:
        plan = plan_for(transformer(), "gpu-only")
        three = plan_for(transformer(), "gpu-only", workload=Workload(3, 12, 10))
        with pytest.raises(
            SessionError, match="a prefill of 3 rows does not divide the batch of 4; partition again"
        ):
            open_and_close(dataclasses.replace(plan, prefill=three.prefill), transformer())

    def test_a_missing_move(self) -> None:
        plan = plan_for(transformer(), "instinfer")
        steps = tuple(
            dataclasses.replace(s, values=s.values[:1]) if isinstance(s, Move) and s.dst == "csd0" else s
            for s in plan.decode.steps
        )
        lacking = dataclasses.replace(plan, decode=dataclasses.replace(plan.decode, steps=steps))
        with (
            Session(lacking, transformer(), clock="virtual") as session,
            pytest.raises(
                SessionError, match=r"decode failed in .*attention: PlanError: .* on csd0, where nothing has"
            ),
        ):
            session.generate(PROMPTS, 3)

    def test_an_unknown_kind_of_move(self) -> None:
        plan = plan_for(transformer(), "instinfer")
        unknown: Any = "teleport"
        steps = tuple(
            dataclasses.replace(s, kind=unknown) if isinstance(s, Move) and s.dst == "csd0" else s
            for s in plan.decode.steps
        )
        odd = dataclasses.replace(plan, decode=dataclasses.replace(plan.decode, steps=steps))
        with (
            Session(odd, transformer(), clock="virtual") as session,
            pytest.raises(SessionError, match="a move of unknown kind 'teleport'"),
        ):
            session.generate(PROMPTS, 3)

    def test_integer_state_made_of_activations(self) -> None:
        with pytest.raises(
            SessionError, match="the integer state 'last' depends on more than tokens and positions"
        ):
            open_and_close(plan_for(remembering_its_choice(), "gpu-only"), remembering_its_choice())


_STEP: list[StepFunction] = []


def remembering_its_choice() -> StepFunction:
    """A step whose integer state is the token it found likeliest."""

    def step(params: Any, tokens: Any, cache: Any, positions: Any, mask: Any) -> tuple[Any, Any]:
        logits = params["embed"][tokens + 0 * cache["last"][:, None]] @ params["head"]
        return logits, {"last": jnp.argmax(logits[:, -1], axis=-1).astype(jnp.int32)}

    def init_cache(batch_size: int, max_len: int) -> Any:
        return {"last": jnp.zeros((batch_size,), jnp.int32)}

    if not _STEP:
        params = {"embed": jnp.ones((VOCAB, 8)), "head": jnp.ones((8, VOCAB))}
        _STEP.append(from_step(step, params=params, init_cache=init_cache, max_chunk=1))
    return _STEP[0]


@pytest.fixture(scope="module")
def session() -> Any:
    with Session(plan_for(transformer(), "instinfer"), transformer(), clock="virtual") as session:
        yield session


class TestGenerating:
    """What a session refuses to generate; it is none the worse for it."""

    @pytest.mark.parametrize(
        ("prompts", "message"),
        [
            ([], "there are no prompts; give at least one"),
            ("a text", "prompts is a str; give a list"),
            ([[1]] * 5, r"5 prompts for a plan with batch size 4; .*Workload\(batch_size=5\)"),
            ([[1], []], "prompt 1 is empty; give at least one token"),
            ([[1] * 13], r"prompt 0 has 13 tokens, the plan is for at most 12; .*Workload\(prompt_len=13\)"),
            ([[1, VOCAB]], f"prompt 0 holds token id {VOCAB}, the model knows 0 to {VOCAB - 1}"),
            (["text"], "prompt 0 is text, but the model has no tokenizer; give token ids, or load"),
        ],
    )
    def test_prompts(self, session: Session, prompts: Any, message: str) -> None:
        with pytest.raises(SessionError, match=message):
            session.generate(prompts, 4)

    @pytest.mark.parametrize(
        ("count", "message"),
        [
            (0, "max_new_tokens is 0; give a whole number of at least 1"),
            (11, r"max_new_tokens is 11, the plan has room for 10; .*Workload\(decode_len=11\)"),
        ],
    )
    def test_number_of_new_tokens(self, session: Session, count: int, message: str) -> None:
        with pytest.raises(SessionError, match=message):
            session.generate(PROMPTS, count)

    def test_refusals_leave_no_trace(self, session: Session) -> None:
        with pytest.raises(SessionError, match="empty"):
            session.generate([[]], 4)
        expected = plain_tokens(transformer(), PROMPTS, 4, WORKLOAD.max_len)
        assert session.generate(PROMPTS, 4).tokens == expected

    @pytest.mark.parametrize("policy", ["gpu-only", "instinfer"])
    def test_a_closed_session(self, policy: str) -> None:
        session = Session(plan_for(transformer(), policy), transformer(), clock="virtual")
        session.close()
        session.close()
        with pytest.raises(SessionError, match="the session is closed; open a new one"):
            session.generate(PROMPTS, 4)
