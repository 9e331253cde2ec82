import jax
import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

from models import EvaluationError, Transformer, TransformerConfig
from models.accuracy.evaluate import EXACT, Evaluated, evaluate
from models.accuracy.exact import Exact
from models.accuracy.excerpts import digest_of, take_excerpts
from models.accuracy.page_shape import PageShape
from models.accuracy.window import Window

from ..test_transformer import run

TEXTS = [("long", "abcdefgh" * 20), ("short", "xyz" * 12), ("tiny", "no")]


def encode(text: str) -> list[int]:
    return list(text.encode())


def test_excerpts_take_turns_and_do_not_overlap() -> None:
    taken = take_excerpts(TEXTS, encode, context=16, count=5)
    assert [excerpt.source for excerpt in taken] == ["long", "short", "long", "short", "long"]
    assert all(excerpt.tokens.shape == (17,) for excerpt in taken)
    every = take_excerpts(TEXTS, encode, context=16, count=99)
    assert len(every) == 9 + 2
    assert digest_of(every) == digest_of(take_excerpts(TEXTS, encode, context=16, count=99))
    assert digest_of(every) != digest_of(take_excerpts(TEXTS, encode, context=16, count=99, seed=1))


def test_texts_that_are_too_short_are_refused() -> None:
    with pytest.raises(
        EvaluationError, match=r"longest text has 160 tokens, .* 256 needs 257; give a longer"
    ):
        take_excerpts(TEXTS, encode, context=256, count=1)


def test_results_are_relative_to_exact_attention() -> None:
    config = TransformerConfig.named("tiny").replace(num_layers=2, hidden_size=16, head_size=8, ffn_size=16)
    model = Transformer(config, rngs=nnx.Rngs(0))
    excerpts = take_excerpts(TEXTS, encode, context=32, count=3)
    shape = PageShape(4, 2, 16)
    ways = {"half": (Window(2.0),) * 2, "mixed": (Exact(shape), Exact(shape))}
    stages: list[tuple[str, int, int]] = []
    found = evaluate(
        model, excerpts, ways, prompt_len=20, shape=shape, report=lambda *stage: stages.append(stage)
    )
    assert stages == [("text", done, 9) for done in range(1, 10)]

    exact = found[EXACT]
    tokens = jnp.asarray([excerpt.tokens for excerpt in excerpts])
    positions = jnp.broadcast_to(jnp.arange(32), (3, 32))
    logits, _ = run(model, tokens[:, :-1], model.init_cache(3, 32), positions)
    shares = jax.nn.log_softmax(logits)[:, 20:] / np.log(2)
    own = np.take_along_axis(np.asarray(shares), np.asarray(tokens)[:, 21:, None], axis=-1)
    np.testing.assert_allclose(exact.bits, -own.mean(axis=(1, 2)), rtol=1e-4)
    assert (exact.loss, exact.loss_error) == (0.0, 0.0)
    for same in (exact, found["mixed"]):
        assert same.pages is not None
        np.testing.assert_allclose([*same.agreement, *same.entries, *same.pages], 1.0)

    half = found["half"]
    assert half.pages is None
    lens = np.arange(21, 33)
    np.testing.assert_allclose(half.entries, np.ceil(lens / 2).sum() / lens.sum())
    assert half.loss == pytest.approx((half.bits.mean() - exact.bits.mean()) / exact.bits.mean())


def test_the_error_of_a_loss_is_that_of_a_mean_of_differences() -> None:
    flat = np.ones(4)
    found = Evaluated(np.array([1.0, 1.2, 1.0, 1.2]), flat, flat, flat, None)
    assert found.loss == pytest.approx(0.1)
    assert found.loss_error == pytest.approx(np.std([0, 0.2, 0, 0.2], ddof=1) / 2)
    assert Evaluated(flat[:1], flat[:1], flat[:1], flat[:1], None).loss_error == float("inf")
