"""Checkpoint folders are read whatever their files, names and dtypes."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax import nnx
from jax import numpy as jnp
from safetensors.numpy import load_file, save_file

from models import Transformer, TransformerConfig, load_pretrained
from models.checkpoint import save_pretrained, stored_parameter
from models.checkpoint.stored_parameter import StoredParameter
from models.checkpoint.tensor_files import find_tensors
from models.training.vocabulary import END, tokenizer_json
from tests.models.reference_checkpoints import FOLDER, reference


@nnx.jit
def logits_of(model: Transformer, tokens: jax.Array) -> jax.Array:
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    return model(tokens, model.init_cache(*tokens.shape), positions)[0]


@pytest.mark.parametrize("name", ["opt-post-norm", "qwen3"])
def test_shards_equal_one_file(name: str, tmp_path: Path) -> None:
    tensors = load_file(FOLDER / name / "model.safetensors")
    shutil.copy(FOLDER / name / "config.json", tmp_path)
    weight_map: dict[str, str] = {}
    for index in range(3):
        shard = f"model-{index + 1:05d}-of-00003.safetensors"
        part = {key: value for at, (key, value) in enumerate(tensors.items()) if at % 3 == index}
        save_file(part, tmp_path / shard)
        weight_map |= dict.fromkeys(part, shard)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    whole, sharded = load_pretrained(FOLDER / name), load_pretrained(tmp_path)
    equal = jax.tree.map(lambda a, b: bool((a == b).all()), nnx.state(whole), nnx.state(sharded))
    assert all(jax.tree.leaves(equal))


def test_bfloat16_tensors_are_cast_to_the_parameter_dtype(tmp_path: Path) -> None:
    tensors = load_file(FOLDER / "llama" / "model.safetensors")
    shutil.copy(FOLDER / "llama" / "config.json", tmp_path)
    narrow = {name: value.astype(jnp.bfloat16) for name, value in tensors.items()}
    save_file(narrow, tmp_path / "model.safetensors")
    table = "model.embed_tokens.weight"
    wide = load_pretrained(tmp_path).embed.token.embedding[...]
    assert wide.dtype == jnp.float32
    np.testing.assert_array_equal(wide, narrow[table].astype(np.float32))
    kept = load_pretrained(tmp_path, param_dtype="bfloat16").embed.token.embedding[...]
    np.testing.assert_array_equal(kept, narrow[table])


def test_names_without_the_outer_prefix(tmp_path: Path) -> None:
    """Checkpoints saved from the bare decoder lack the outermost ``model.``."""
    tensors = load_file(FOLDER / "opt" / "model.safetensors")
    shutil.copy(FOLDER / "opt" / "config.json", tmp_path)
    bare = {name.removeprefix("model."): value for name, value in tensors.items()}
    save_file(bare, tmp_path / "model.safetensors")
    tokens = reference("opt").prompts
    np.testing.assert_array_equal(
        logits_of(load_pretrained(tmp_path), tokens), logits_of(load_pretrained(FOLDER / "opt"), tokens)
    )


def test_redundant_tensors_are_left_unread(tmp_path: Path) -> None:
    tensors = load_file(FOLDER / "qwen2" / "model.safetensors")
    shutil.copy(FOLDER / "qwen2" / "config.json", tmp_path)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].copy()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = np.ones(2, np.float32)
    save_file(tensors, tmp_path / "model.safetensors")
    assert load_pretrained(tmp_path).lm_head is None


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    config = TransformerConfig.named("tiny").replace(
        num_layers=1, num_heads=2, num_kv_heads=1, head_size=16, hidden_size=32, ffn_size=32
    )
    model = Transformer(config, rngs=nnx.Rngs(3))
    save_pretrained(model, tmp_path, "float32", eos_id=END)
    (tmp_path / "tokenizer.json").write_text(tokenizer_json(), encoding="utf-8")
    loaded = load_pretrained(tmp_path)
    assert loaded.config == config
    assert loaded.tokenizer is not None
    assert loaded.tokenizer.eos_id == END
    tokens = np.array([loaded.tokenizer.encode("def f(x):")], np.int32)
    np.testing.assert_array_equal(logits_of(loaded, tokens), logits_of(model, tokens))


def test_a_loaded_model_splits_and_compiles() -> None:
    first, second = load_pretrained("tiny"), load_pretrained("tiny")
    graph, params = nnx.split(first)
    assert graph == nnx.split(second)[0]
    assert hash(graph) == hash(nnx.split(second)[0])
    assert nnx.merge(graph, params).tokenizer == first.tokenizer


def test_without_tokenizer_file_there_is_no_tokenizer() -> None:
    assert load_pretrained(FOLDER / "opt").tokenizer is None


@pytest.mark.parametrize("name", ["opt-float16", "llama-bfloat16"])
def test_a_lazy_model_reads_what_it_is_asked_for(name: str) -> None:
    """Its parameters say what they are before they are read, and it computes what the loaded model does."""
    loaded, lazy = load_pretrained(FOLDER / name), load_pretrained(FOLDER / name, lazy=True)
    stored = nnx.to_flat_state(nnx.state(lazy, nnx.Param))
    for (path, param), (of_path, values) in zip(
        stored, nnx.to_flat_state(nnx.state(loaded, nnx.Param)), strict=True
    ):
        parameter, array = param.get_value(), values.get_value()
        assert isinstance(parameter, StoredParameter)
        assert path == of_path
        assert (parameter.shape, parameter.dtype) == (array.shape, array.dtype)
        assert parameter.nbytes == array.nbytes
        np.testing.assert_array_equal(parameter.read(), array)
    tokens = np.arange(6, dtype=np.int32)[None]
    positions = np.arange(6)[None]
    expected, _ = loaded(tokens, loaded.init_cache(1, 6), positions)
    np.testing.assert_array_equal(lazy(tokens, lazy.init_cache(1, 6), positions)[0], expected)


@pytest.mark.parametrize("is_transposed", [False, True])
def test_tensors_larger_than_a_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_transposed: bool
) -> None:
    """Pieces of 3 rows of 5 elements, of which the last is shorter; wider in the file than in the model."""
    monkeypatch.setattr(stored_parameter, "PIECE_BYTES", 3 * 5 * 8)
    values = np.random.default_rng(0).normal(size=(7, 5))
    save_file({"other": np.ones(3), "values": values}, tmp_path / "model.safetensors")
    tensor = find_tensors(tmp_path)["values"]
    parameter = StoredParameter(tensor, np.dtype(np.float32), is_transposed)
    read = parameter.read()
    assert read.flags.c_contiguous
    assert read.ctypes.data % stored_parameter.ALIGNMENT_BYTES == 0
    np.testing.assert_array_equal(read, (values.T if is_transposed else values).astype(np.float32))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_checkpoints_keep_every_bit(dtype: str, tmp_path: Path) -> None:
    model = load_pretrained("tiny", param_dtype=dtype)
    save_pretrained(model, tmp_path, dtype)
    again = load_pretrained(tmp_path, param_dtype=dtype)
    equal = jax.tree.map(
        lambda a, b: a.dtype == b.dtype == jnp.dtype(dtype) and bool((a == b).all()),
        nnx.state(model, nnx.Param),
        nnx.state(again, nnx.Param),
    )
    assert all(jax.tree.leaves(equal))
