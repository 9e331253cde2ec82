"""The pass over known tokens against the model's own."""

import jax
import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

from models import EvaluationError, Transformer
from models.accuracy import decode_layer
from models.accuracy.exact import Exact
from models.accuracy.sparq import SparQ
from models.accuracy.teacher_forced import decode, predict, prefill

from ..test_transformer import FAMILIES, run

CONFIGS = {
    **FAMILIES,
    "post-norm": FAMILIES["opt"].replace(norm_position="post", final_norm=False, embed_size=16),
    "window": FAMILIES["llama"].replace(window=20),
}


@pytest.fixture(scope="module", params=CONFIGS)
def model(request: pytest.FixtureRequest) -> Transformer:
    return Transformer(CONFIGS[request.param], rngs=nnx.Rngs(0))


TOKENS = jax.random.randint(jax.random.key(1), (3, 20), 0, 48)


def test_exact_attention_gives_the_models_own_logits(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        decode_layer, "CHUNK_ELEMENTS", 3 * 6 * 19 * 4
    )  # several chunks, the last one not full
    positions = jnp.broadcast_to(jnp.arange(20), (3, 20))
    logits, _ = run(model, TOKENS, model.init_cache(3, 20), positions)
    layers = len(model.blocks)
    decoded = decode(model, prefill(model, TOKENS[:, :9]), TOKENS[:, 9:], [Exact()] * layers)
    np.testing.assert_allclose(model.unembed(decoded.hidden), logits[:, 9:], atol=2e-5)

    predicted = predict(model, decoded, np.asarray(TOKENS[:, 9:]))
    shares = np.asarray(jax.nn.softmax(logits[:, 9:]))
    own = np.take_along_axis(shares, np.asarray(TOKENS[:, 9:, None]), axis=-1)[..., 0]
    np.testing.assert_allclose(predicted.bits, -np.log2(own), atol=1e-4)
    np.testing.assert_array_equal(predicted.likeliest, shares.argmax(axis=-1))

    config = model.config
    elements = 2 * config.num_kv_heads * config.head_size * np.arange(10, 21)
    for reads in decoded.reads:
        np.testing.assert_array_equal(reads.elements, np.tile(elements, (3, 1)))


def test_a_sparse_layer_changes_what_the_layers_behind_it_see(model: Transformer) -> None:
    prompt = prefill(model, TOKENS[:, :9])
    exact, first, last = (
        decode(model, prompt, TOKENS[:, 9:], methods).hidden
        for methods in ([Exact()] * 2, [SparQ(4), Exact()], [Exact(), SparQ(4)])
    )
    assert not np.allclose(exact, first, atol=1e-4)
    assert not np.allclose(first, last, atol=1e-4)


def test_windows_that_end_within_the_context_are_refused() -> None:
    model = Transformer(FAMILIES["llama"].replace(window=19), rngs=nnx.Rngs(0))
    prompt = prefill(model, TOKENS[:, :9])
    with pytest.raises(EvaluationError, match=r"windows of 19 tokens, .* give a context of at most 19"):
        decode(model, prompt, TOKENS[:, 9:], [Exact()] * 2)
