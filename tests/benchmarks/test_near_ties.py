"""Where tokens differ, the logits of the two tell how likely each was."""

import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

from benchmarks.decode_step import PlainJit
from benchmarks.near_ties import margins, told
from models import Transformer, TransformerConfig

CONFIG = TransformerConfig.named("tiny").replace(num_layers=1)


@pytest.fixture(scope="module")
def model() -> Transformer:
    return Transformer(CONFIG, rngs=nnx.Rngs(0))


def test_the_first_token_that_differs_is_held_against_the_one_that_was_expected(model: Transformer) -> None:
    prompts = np.arange(1, 9, dtype=np.int32).reshape(2, 4)
    expected = PlainJit(model, 8).generate(prompts, 4)[0].tolist()
    context = jnp.asarray([[*prompts[1], expected[1][0]]])
    positions = jnp.arange(5)[None]
    logits, _ = model(context, model.init_cache(1, 5), positions, logits_at=jnp.array([4]))
    best, other = (int(n) for n in np.argsort(-np.asarray(logits[0, 0]))[:2])
    assert best == expected[1][1]
    made = [expected[0], [expected[1][0], other, *expected[1][2:]]]
    (margin,) = margins(model, prompts, expected, made)
    high, low = float(logits[0, 0, best]), float(logits[0, 0, other])
    ulp = float(np.spacing(np.asarray(max(abs(high), abs(low)), CONFIG.compute_dtype)))
    assert margin == pytest.approx((high - low) / ulp, rel=1e-3)
    assert margin > 0.0


def test_rows_that_are_equal_have_no_margin(model: Transformer) -> None:
    assert margins(model, np.ones((1, 2), np.int32), [[3, 4]], [[3, 4]]) == []


def test_the_widest_margin_is_told() -> None:
    assert told([0.5, 2.25]).strip().startswith("2 rows differ")
    assert "2.2 units" in told([0.5, 2.25])
    assert told([1.0]).strip().startswith("1 row differs")
