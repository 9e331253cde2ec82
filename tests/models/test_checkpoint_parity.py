"""Every family computes what Hugging Face transformers computed for the committed checkpoints."""

from functools import cache

import jax
import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp

from models import Transformer, load_pretrained
from tests.models.reference_checkpoints import CHECKPOINTS, FOLDER, WINDOWED, reference

# Sums of at most 64 float32 terms in another order, through three layers; measured are 2e-6 at most.
LOGITS_RTOL = 2e-5


@cache
def loaded(name: str) -> Transformer:
    return load_pretrained(FOLDER / name, **CHECKPOINTS[name])


@nnx.jit
def logits_of(model: Transformer, tokens: jax.Array) -> jax.Array:
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return model(tokens, model.init_cache(*tokens.shape), positions)[0]


def largest_error(logits: jax.Array, expected: np.ndarray) -> float:
    """Returns the largest error of a logit as a share of the largest logit."""
    return float(np.abs(logits - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_logits(name: str) -> None:
    expected = reference(name)
    assert largest_error(logits_of(loaded(name), expected.prompts), expected.logits) < LOGITS_RTOL


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_continuations(name: str) -> None:
    """One pass over prompt and continuation chooses, at every position, the token that the reference generated next."""
    expected = reference(name)
    fed = np.concatenate([expected.prompts, expected.continuation], axis=1)
    chosen = np.asarray(logits_of(loaded(name), fed)).argmax(-1)
    np.testing.assert_array_equal(chosen[:, expected.prompts.shape[1] - 1 : -1], expected.continuation)


@pytest.mark.parametrize("name", WINDOWED)
def test_windows_are_read_and_bite(name: str) -> None:
    window, num_full_layers = WINDOWED[name]
    model = loaded(name)
    assert (model.config.window, model.config.num_full_layers) == (window, num_full_layers)
    expected = reference(name)
    blind = load_pretrained(FOLDER / name, **CHECKPOINTS[name], window=None, num_full_layers=0)
    logits = logits_of(blind, expected.prompts)
    assert largest_error(logits[:, :window], expected.logits[:, :window]) < LOGITS_RTOL
    assert largest_error(logits[:, window:], expected.logits[:, window:]) > 1e-2
    assert load_pretrained(FOLDER / name, window=window + 1).config.window == window + 1
