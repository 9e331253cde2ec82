"""Configurations: published sizes, checks, derived numbers."""

import re

import jax
import numpy as np
import pytest
from flax import nnx

from models import ConfigError, TransformerConfig, abstract
from models.rope_scaling import Llama3RopeScaling

# Exact counts from the safetensors metadata that the publishers' pages on huggingface.co show.
EXACT_COUNTS = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "qwen3-8b": 8_190_735_360,
    "mistral-7b": 7_241_732_096,
    "opt-350m": 331_196_416,
}

# Nominal sizes: table 1 of arXiv:2205.01068 (OPT), and table 1 of arXiv:2505.09388 (Qwen3-0.6B).
NOMINAL_COUNTS = {
    "opt-125m": 125e6,
    "opt-1.3b": 1.3e9,
    "opt-2.7b": 2.7e9,
    "opt-6.7b": 6.7e9,
    "opt-13b": 13e9,
    "opt-30b": 30e9,
    "opt-66b": 66e9,
    "opt-175b": 175e9,
    "qwen3-0.6b": 0.6e9,
}


@pytest.mark.parametrize("name", EXACT_COUNTS)
def test_parameter_count_is_the_published_one(name: str) -> None:
    assert TransformerConfig.named(name).num_parameters == EXACT_COUNTS[name]


@pytest.mark.parametrize("name", NOMINAL_COUNTS)
def test_parameter_count_is_near_the_nominal_one(name: str) -> None:
    assert TransformerConfig.named(name).num_parameters == pytest.approx(NOMINAL_COUNTS[name], rel=0.02)


@pytest.mark.parametrize(
    "name", ["opt-125m", "opt-350m", "mistral-7b", "llama-2-7b", "llama-3-8b", "qwen3-0.6b", "tiny"]
)
def test_parameter_count_is_that_of_the_modules(name: str) -> None:
    leaves = jax.tree.leaves(nnx.state(abstract(name), nnx.Param))
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == TransformerConfig.named(name).num_parameters


def test_kv_bytes_per_token() -> None:
    # 40 layers x 40 heads x 128 x 2 (key and value) x 2 bytes.
    assert TransformerConfig.named("opt-13b").kv_bytes_per_token == 819_200
    assert TransformerConfig.named("opt-13b").replace(kv_dtype="float32").kv_bytes_per_token == 1_638_400
    # 32 layers x 8 KV heads x 128 x 2 x 2 bytes: grouped queries keep a quarter.
    assert TransformerConfig.named("llama-3-8b").kv_bytes_per_token == 131_072


def test_configurations_are_values() -> None:
    first, second = TransformerConfig.named("tiny"), TransformerConfig.named("tiny").replace(num_layers=4)
    assert first == second
    assert hash(first) == hash(second)


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown model 'opt-12b'; known are tiny, opt-125m, .*qwen3-8b"):
        TransformerConfig.named("opt-12b")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 0}, "num_layers must be a positive integer, got 0"),
        ({"hidden_size": 2.5}, "hidden_size must be a positive integer, got 2.5"),
        ({"num_kv_heads": 3}, "num_heads 4 is not a multiple of num_kv_heads 3"),
        ({"head_size": 7}, "rotary positions need an even head_size, got 7"),
        ({"norm": "batchnorm"}, "norm must be one of layernorm, rmsnorm, got 'batchnorm'"),
        ({"activation": "gelu"}, "activation must be one of relu, swiglu, got 'gelu'"),
        ({"position": "alibi"}, "position must be one of learned, rotary, got 'alibi'"),
        ({"kv_dtype": "int8"}, "kv_dtype must be one of float32, float16, bfloat16, got 'int8'"),
        ({"position_offset": 2}, "position_offset 2 must be zero, or positive with learned positions"),
        ({"norm_position": "both"}, "norm_position must be one of pre, post, got 'both'"),
        ({"window": 0}, "window must be a positive integer, got 0"),
        ({"embed_size": 1.5}, "embed_size must be a positive integer, got 1.5"),
        ({"num_full_layers": 1}, "num_full_layers 1 must be zero, or at most num_layers 4 with a window"),
        ({"norm_eps": 0.0}, "rope_theta and norm_eps must be positive, got 10000.0 and 0.0"),
        ({"depth": 3}, "no such field: depth; fields are activation"),
    ],
)
def test_bad_fields_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        TransformerConfig.named("tiny").replace(**changes)


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        ((0.5, 1.0, 4.0, 64), "factor must be at least 1, got 0.5"),
        ((8.0, 4.0, 1.0, 64), "needs 0 < low_freq_factor < high_freq_factor, got 4.0 and 1.0"),
        ((8.0, 1.0, 4.0, 0), "original_max_position must be positive, got 0"),
    ],
)
def test_bad_rope_scaling_is_refused(factors: tuple, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Llama3RopeScaling(*factors)
    with pytest.raises(ConfigError, match="rope_scaling needs rotary positions, got learned"):
        TransformerConfig.named("opt-125m").replace(rope_scaling=Llama3RopeScaling(8.0, 1.0, 4.0, 64))
