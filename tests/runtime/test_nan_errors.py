"""Numbers that are none, in weights and on the way, are told with where they came up."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import pytest
from flax import nnx
from jax import numpy as jnp

from models import Transformer
from runtime import Session, SessionError
from tests.runtime.tiny_models import (
    PROMPTS,
    WORKLOAD,
    plain_tokens,
    plan_for,
    running_mean,
    transformer,
)


def changed(
    model: Transformer, path: tuple[Any, ...], change: Callable[[jax.Array], jax.Array]
) -> Transformer:
    """A copy of a model with one parameter changed."""
    copy = nnx.clone(model)
    target: Any = copy
    for key in path:
        target = target[key] if isinstance(key, int) else getattr(target, key)
    target[...] = change(target[...])
    return copy


class TestNumbersThatAreNone:
    """NaN and infinity in weights or logits, which would otherwise come out as token 0 for ever."""

    @pytest.mark.parametrize("policy", ["gpu-only", "deepspeed-host", "flexgen-ssd", "instinfer"])
    def test_a_weight_that_is_nan(self, policy: str) -> None:
        broken = changed(
            transformer(), ("blocks", 1, "attention", "value", "kernel"), lambda w: w.at[3, 5].set(jnp.nan)
        )
        with (
            Session(plan_for(transformer(), policy), broken, clock="virtual") as session,
            pytest.raises(
                SessionError, match="logits of prompt 0 are NaN or infinite at new token 0; look for NaN"
            ),
        ):
            session.generate(PROMPTS, 4)

    @pytest.mark.parametrize("policy", ["gpu-only", "flexgen-ssd", "instinfer"])
    @pytest.mark.parametrize("heard", [False, True])
    def test_logits_that_become_nan_on_the_way(self, policy: str, heard: bool) -> None:
        """The embedding of one token is NaN: all is well until some row has made it and takes it in."""
        plain = plain_tokens(transformer(), PROMPTS, 6, WORKLOAD.max_len)
        row = 1
        step = next(i for i in range(1, 5) if new_by_then(plain, row, i))
        broken = changed(
            transformer(), ("embed", "token", "embedding"), lambda w: w.at[plain[row][step]].set(jnp.nan)
        )
        listen = (lambda row, token: None) if heard else None
        with Session(plan_for(transformer(), policy), broken, clock="virtual") as session:
            expected = [tokens[: step + 1] for tokens in plain]
            assert session.generate(PROMPTS, step + 1).tokens == expected
            with pytest.raises(
                SessionError, match=f"prompt {row} are NaN or infinite at new token {step + 1};"
            ):
                session.generate(PROMPTS, 6, on_token=listen)

    def test_logits_that_overflow(self) -> None:
        broken = changed(transformer(), ("lm_head", "kernel"), lambda w: w * 3e38)
        with (
            Session(plan_for(transformer(), "gpu-only"), broken, clock="virtual") as session,
            pytest.raises(SessionError, match=r"NaN or infinite at new token 0; .* overflow"),
        ):
            session.generate(PROMPTS, 4)

    def test_rows_without_a_prompt_do_not_count(self) -> None:
        """Dummy rows take in token 0, whose embedding is NaN here; the prompt is full, so that it has no padding."""
        broken = changed(transformer(), ("embed", "token", "embedding"), lambda w: w.at[0].set(jnp.nan))
        prompt = list(range(20, 32))
        expected = plain_tokens(transformer(), [prompt], 4, WORKLOAD.max_len)
        assert 0 not in expected[0]
        with Session(plan_for(transformer(), "instinfer"), broken, clock="virtual") as session:
            assert session.generate([prompt], 4).tokens == expected

    def test_a_model_fed_token_by_token(self) -> None:
        broken = dataclasses.replace(
            running_mean(), params={**running_mean().params, "head": running_mean().params["head"] * jnp.nan}
        )
        with (
            Session(plan_for(running_mean(), "gpu-only"), broken, clock="virtual") as session,
            pytest.raises(SessionError, match="prompt 0 are NaN or infinite at new token 0"),
        ):
            session.generate(PROMPTS, 4)


def new_by_then(tokens: list[list[int]], row: int, step: int) -> bool:
    """Whether a row's token appears at that step for the first time in any row or prompt, and nowhere else so far."""
    token = tokens[row][step]
    so_far = [t for other in tokens for t in other[: step + 1]] + [t for p in PROMPTS for t in p]
    return so_far.count(token) == 1
