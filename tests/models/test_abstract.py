"""Abstract models: shapes without memory."""

import resource

import jax
import pytest
from flax import nnx
from jax import numpy as jnp

from models import ConfigError, TransformerConfig, abstract


def test_the_largest_model_allocates_nothing() -> None:
    arrays_before = len(jax.live_arrays())
    peak_before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model = abstract("opt-175b")
    leaves = jax.tree.leaves(nnx.state(model, nnx.Param))
    assert all(isinstance(leaf, jax.ShapeDtypeStruct) for leaf in leaves)
    assert len(jax.live_arrays()) <= arrays_before
    peak_after_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert peak_after_kb - peak_before_kb < 300_000  # the weights would be 350 GB


def test_an_abstract_model_can_be_traced() -> None:
    model = abstract("llama-3-8b", num_layers=2)
    graph, params = nnx.split(model)
    cache = jax.eval_shape(lambda: model.init_cache(4, 128))
    assert cache[1]["key"].shape == (4, 8, 128, 128)
    assert cache[1]["key"].dtype == jnp.bfloat16
    tokens = jax.ShapeDtypeStruct((4, 1), jnp.int32)
    logits, after = jax.eval_shape(
        lambda params, *inputs: nnx.merge(graph, params)(*inputs), params, tokens, cache, tokens
    )
    assert logits.shape == (4, 1, 128256)
    assert logits.dtype == jnp.float32
    assert after == cache


def test_a_configuration_and_overrides() -> None:
    config = TransformerConfig.named("tiny").replace(num_layers=1)
    model = abstract(config, kv_dtype="float32")
    assert model.config == config.replace(kv_dtype="float32")
    assert len(model.blocks) == 1
    with pytest.raises(ConfigError, match="unknown model 'gpt-5'"):
        abstract("gpt-5")
    with pytest.raises(ConfigError, match="no such field: layers"):
        abstract("tiny", layers=3)
