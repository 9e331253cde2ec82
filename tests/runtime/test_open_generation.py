"""Generations that draw tokens, that end by themselves, and that are heard while they run."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models import load_pretrained
from partitioner import Workload, partition
from runtime import Request, Sampling, Session, SessionError
from runtime.text_pieces import TextPieces
from tests.runtime.requests import SAMPLINGS, alone
from tests.runtime.tiny_models import (
    PROMPTS,
    WORKLOAD,
    counting_decoder,
    plain_tokens,
    plan_for,
    transformer,
)

EACH = SAMPLINGS[1:]


@pytest.mark.parametrize("policy", ["gpu-only", "instinfer"])
@pytest.mark.parametrize("model", [transformer(), counting_decoder()], ids=["transformer", "counting"])
def test_drawn_tokens_are_those_of_the_plain_model(model: Any, policy: str) -> None:
    with Session(plan_for(model, policy), model, clock="virtual") as session:
        result = session.generate(PROMPTS, 8, sampling=EACH)
    wanted = [alone(model, Request(p, 8, s, None)) for p, s in zip(PROMPTS, EACH, strict=True)]
    assert result.tokens == [tokens for tokens, _ in wanted]
    assert result.reasons == ("length",) * 3
    assert result.timeline.end_s <= result.total_s * (1 + 1e-9)


@pytest.mark.parametrize("policy", ["gpu-only", "instinfer"])
def test_rows_end_at_their_tokens_and_the_generation_with_the_last(policy: str) -> None:
    model = transformer()
    plain = plain_tokens(model, PROMPTS, 10, WORKLOAD.max_len)
    ending = plain[0][2]
    cut = [row[: row.index(ending) + 1] if ending in row else row for row in plain]
    with Session(plan_for(model, policy), model, clock="virtual") as session:
        result = session.generate(PROMPTS, 10, eos=ending)
        first = session.generate(PROMPTS[:1], 10, eos=[ending])
        whole = session.generate(PROMPTS[:1], 10)
    assert result.tokens == cut
    assert result.reasons == tuple("eos" if row[-1] == ending else "length" for row in cut)
    assert first.tokens == [plain[0][: plain[0].index(ending) + 1]]
    assert first.decode_s < whole.decode_s
    assert whole.reasons == ("length",)


class TestStreams:
    """Tokens and text on the way."""

    def test_tokens_come_step_by_step_and_add_up(self) -> None:
        model = transformer()
        with Session(plan_for(model, "instinfer"), model, clock="virtual") as session:
            pieces = list(session.stream(PROMPTS, 4))
        plain = plain_tokens(model, PROMPTS, 4, WORKLOAD.max_len)
        assert [(p.row, p.token) for p in pieces] == [(r, plain[r][s]) for s in range(4) for r in range(3)]
        assert {p.text for p in pieces} == {""}

    def test_texts_add_up_to_that_of_the_whole(self) -> None:
        model = load_pretrained("tiny")
        plan = partition(model, "demo", Workload(2, 24, 12), "gpu-only")
        prompts = ["def mean(values):", "class Stac"]
        with Session(plan, model, clock="virtual") as session:
            pieces = list(session.stream(prompts, 12))
            result = session.generate(prompts, 12, eos="model")
        assert result.texts == ["".join(p.text for p in pieces if p.row == row) for row in range(2)]
        assert result.tokens == [[p.token for p in pieces if p.row == row] for row in range(2)]

    @settings(max_examples=60, deadline=None)
    @given(st.one_of(st.text(max_size=20).map(str.encode), st.binary(max_size=20)))
    def test_no_character_is_broken(self, data: bytes) -> None:
        tokenizer = load_pretrained("tiny").tokenizer
        whole = tokenizer.decode(list(data))
        pieces = TextPieces(tokenizer)
        told = [pieces.push(token) for token in data]
        assert "".join(told) + pieces.rest(whole) == whole
        assert not any(text.endswith("\N{REPLACEMENT CHARACTER}") for text in told)


@pytest.mark.parametrize("sampling", [[Sampling()], [0.7] * 3])
def test_settings_that_do_not_fit_the_prompts(sampling: Any) -> None:
    model = transformer()
    with (
        Session(plan_for(model, "gpu-only"), model, clock="virtual") as session,
        pytest.raises(
            SessionError, match=r"for 3 prompts; give one runtime.Sampling for all, or one for each"
        ),
    ):
        session.generate(PROMPTS, 3, sampling=sampling)
