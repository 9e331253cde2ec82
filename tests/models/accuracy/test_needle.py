import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

from models import EvaluationError, Transformer, TransformerConfig
from models.accuracy.exact import Exact
from models.accuracy.needle import NUM_OTHERS, found_digits, make_needles
from models.accuracy.window import Window

from ..test_transformer import run

FILLER = "".join(f"line {number} of some text\n" for number in range(40))


def encode(text: str) -> list[int]:
    return list(text.encode())


def text_of(tokens: np.ndarray) -> str:
    return bytes(tokens.tolist()).decode()


@pytest.mark.parametrize("depth", [0.0, 0.5, 1.0])
def test_the_needle_lies_at_its_depth_and_is_asked_for_at_the_end(depth: float) -> None:
    needles = make_needles(np.random.default_rng(0), encode, FILLER, context=500, depth=depth, count=6)
    assert needles.context == 500
    assert needles.num_answer == 4
    for prompt, question in zip(needles.prompt, needles.question, strict=True):
        text, asked = text_of(prompt), text_of(question)
        assert text.count("key_") == 1 + NUM_OTHERS
        key, value = asked.removeprefix("assert ").split(" == ")
        defined = f"{key} = {value}\n"
        assert text.count(defined) == 1
        assert asked[-4:] == value[-4:]
        others = NUM_OTHERS * len(defined)  # may lie before or behind it
        assert abs(text.index(defined) - depth * (len(text) - len(defined))) <= others + 14
        assert depth < 1 or text.endswith(defined)


@pytest.mark.parametrize(
    ("context", "filler", "said"),
    [
        (90, FILLER, "no room for 4 definitions .* give one of 97 or more"),
        (500, "short\n", "tokens less than"),
        (500, "", "tokens less than"),
    ],
)
def test_texts_that_cannot_be_made(context: int, filler: str, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        make_needles(np.random.default_rng(0), encode, filler, context=context, depth=0.5, count=1)


def test_found_digits_are_those_that_the_model_would_give() -> None:
    config = TransformerConfig.named("tiny").replace(num_layers=1, hidden_size=32, ffn_size=32)
    model = Transformer(config, rngs=nnx.Rngs(0))
    needles = make_needles(np.random.default_rng(0), encode, FILLER, context=150, depth=0.5, count=2)
    exact, window = found_digits(model, needles, [[Exact()], [Window(16)]])
    assert exact.shape == window.shape == (2, 4)
    tokens = np.concatenate([needles.prompt, needles.question], axis=1)
    positions = np.broadcast_to(np.arange(150), (2, 150))
    logits, _ = run(model, jnp.asarray(tokens), model.init_cache(2, 150), jnp.asarray(positions))
    own = np.asarray(logits).argmax(axis=-1)[:, -5:-1]
    np.testing.assert_array_equal(exact, own == tokens[:, -4:])
