"""Every way in which a checkpoint can be wrong gives one clear error."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from models import CheckpointError, ConfigError, abstract, load_pretrained
from models.checkpoint import save_pretrained
from models.training.vocabulary import tokenizer_json

CHECKPOINTS = Path(__file__).parent / "checkpoints"
Damage = Callable[[Path], None]


def set_config(**changes: object) -> Damage:
    def damage(folder: Path) -> None:
        fields = json.loads((folder / "config.json").read_text())
        kept = {key: value for key, value in (fields | changes).items() if value is not None}
        (folder / "config.json").write_text(json.dumps(kept))

    return damage


def write(name: str, text: str) -> Damage:
    def damage(folder: Path) -> None:
        (folder / name).write_text(text, encoding="utf-8")

    return damage


def remove(name: str) -> Damage:
    return lambda folder: (folder / name).unlink()


def change_tensors(change: Callable[[dict[str, np.ndarray]], object]) -> Damage:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return damage


def truncate(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])


def change_header(change: Callable[[dict], object]) -> Damage:
    def damage(folder: Path) -> None:
        file = folder / "model.safetensors"
        content = file.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        change(header)
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])

    return damage


def long_header(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes((10**9).to_bytes(8, "little") + file.read_bytes()[8:])


def shard(weight_map: dict[str, str]) -> Damage:
    def damage(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "one.safetensors")
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))

    return damage


def index_without_map(folder: Path) -> None:
    shard({})(folder)
    write("model.safetensors.index.json", "{}")(folder)


QUERY = "model.layers.1.self_attn.q_proj.weight"
CASES: dict[str, tuple[str, Damage, str]] = {
    "no config": ("llama", remove("config.json"), r"config.json is missing; download it"),
    "config not JSON": ("llama", write("config.json", "{"), r"config.json is not valid JSON \(.*download it"),
    "config no object": ("llama", write("config.json", "[]"), r"must hold a JSON object, got list"),
    "model type": (
        "llama",
        set_config(model_type="gpt2"),
        r"model_type 'gpt2' is not supported; use one of opt, llama, mistral, qwen2, qwen3",
    ),
    "no model type": ("llama", set_config(model_type=None), r"model_type None is not supported"),
    "missing field": ("llama", set_config(hidden_size=None), r"has no field 'hidden_size'; take the file"),
    "bad field": ("llama", set_config(num_key_value_heads=3), r"no valid model: .*not a multiple of num_kv"),
    "field of wrong type": (
        "llama",
        set_config(hidden_size="16"),
        r"gives hidden_size as '16'; it must be a pos",
    ),
    "heads zero": ("opt", set_config(num_attention_heads=0), r"num_attention_heads as 0; it must be"),
    "stored dtype": ("llama", set_config(dtype="int8"), r"torch_dtype 'int8' is not supported; use one of"),
    "activation": ("llama", set_config(hidden_act="gelu"), r"hidden_act='gelu'\) is not supported"),
    "rope type": (
        "llama3",
        set_config(rope_parameters={"rope_type": "yarn"}),
        r"rope type 'yarn' is not supported; use a model with 'default' or 'llama3'",
    ),
    "rope field": (
        "llama3",
        set_config(rope_parameters={"rope_type": "llama3", "factor": 8.0}),
        r"has no field 'low_freq_factor'",
    ),
    "window in other layers": (
        "qwen2-window",
        set_config(layer_types=["sliding_attention", "full_attention", "full_attention"]),
        r"layer_types \['sliding_attention', .* with a window is not supported; use a model whose windowed",
    ),
    "window": (
        "mistral",
        set_config(sliding_window=0),
        r"no valid model: .*window must be a positive integer",
    ),
    "projection": (
        "opt",
        set_config(word_embed_proj_dim=0),
        r"no valid model: .*embed_size must be a positive",
    ),
    "projection that the tensors lack": (
        "opt",
        set_config(word_embed_proj_dim=16),
        r"tensor 'model.decoder.project_in.weight' is missing; the checkpoint is incomplete",
    ),
    "final norm that the tensors lack": (
        "opt-post-norm",
        set_config(do_layer_norm_before=True),
        r"tensor 'model.decoder.final_layer_norm.bias' is missing; the checkpoint is incomplete",
    ),
    "untied output that the tensors lack": (
        "qwen2",
        set_config(tie_word_embeddings=False),
        r"tensor 'lm_head.weight' is missing; the checkpoint is incomplete",
    ),
    "no tensors": (
        "llama",
        remove("model.safetensors"),
        r"holds neither model.safetensors nor model.safetensors.index.json; convert the weights",
    ),
    "missing tensor": (
        "llama",
        change_tensors(lambda tensors: tensors.pop(QUERY)),
        rf"tensor '{re.escape(QUERY)}' is missing; the checkpoint is incomplete",
    ),
    "wrong shape": (
        "llama",
        change_tensors(lambda tensors: tensors.update({QUERY: np.zeros((32, 16), np.float32)})),
        rf"tensor '{re.escape(QUERY)}' has shape \(32, 16\), but config.json asks for \(32, 32\)",
    ),
    "extra tensor": (
        "llama",
        change_tensors(lambda tensors: tensors.update({"adapter": np.zeros(3, np.float32)})),
        r"1 unexpected tensors, the first 'adapter'; the checkpoint holds more",
    ),
    "truncated": ("llama", truncate, r"file \(tensor '.*' ends at byte \d+ of \d+\); download it again"),
    "truncated header": (
        "llama",
        lambda folder: os.truncate(folder / "model.safetensors", 20),
        r"safetensors file \(its header of \d+ bytes reaches beyond the 12 it can have\); download",
    ),
    "empty": (
        "llama",
        lambda folder: os.truncate(folder / "model.safetensors", 0),
        r"is truncated or is not a safetensors file",
    ),
    "header beyond the file": (
        "llama",
        long_header,
        r"safetensors file \(its header of 1000000000 bytes reaches beyond the \d+ it can have\); download",
    ),
    "not safetensors": (
        "llama",
        write("model.safetensors", "hello"),
        r"is truncated or is not a safetensors file",
    ),
    "header not JSON": (
        "llama",
        write("model.safetensors", "\x02" + 7 * "\0" + "{]"),
        r"is truncated or is not a safetensors file \(Expecting property name",
    ),
    "header no object": (
        "llama",
        write("model.safetensors", "\x02" + 7 * "\0" + "[]"),
        r"not a safetensors file \(its header is no JSON object\); download it again",
    ),
    "tensor without offsets": (
        "llama",
        change_header(lambda header: header[QUERY].pop("data_offsets")),
        rf"tensor '{re.escape(QUERY)}' has no dtype, shape and data_offsets\); download it again",
    ),
    "tensor of negative size": (
        "llama",
        change_header(lambda header: header[QUERY].update(shape=[-32, 32])),
        rf"tensor '{re.escape(QUERY)}' has shape \[-32, 32\] and offsets",
    ),
    "tensor of more bytes than its shape": (
        "llama",
        change_header(lambda header: header[QUERY].update(shape=[32, 31])),
        rf"tensor '{re.escape(QUERY)}' is F32\[32, 31\] in 4096 bytes\); download it again",
    ),
    "unsupported dtype": (
        "llama",
        change_header(lambda header: header[QUERY].update(dtype="F8_E4M3")),
        rf"tensor '{re.escape(QUERY)}' of .* is stored as F8_E4M3, which is not supported; use a checkpoint that is not",
    ),
    "missing shard": (
        "llama",
        shard({QUERY: "two.safetensors"}),
        r"shard two.safetensors named by .* missing",
    ),
    "shard outside of the folder": (
        "llama",
        shard({QUERY: "../one.safetensors"}),
        r"names the shard '../one.safetensors', which is no file of .*; shards are files beside their index",
    ),
    "shard by its path": (
        "llama",
        shard({QUERY: "/etc/passwd"}),
        r"names the shard '/etc/passwd', which is no file of",
    ),
    "shard that is a folder": ("llama", shard({QUERY: ".."}), r"names the shard '..', which is no file of"),
    "tensor not in shard": (
        "llama",
        shard({"ghost": "one.safetensors"}),
        r"tensor 'ghost' is not in shard one.safetensors as .* says",
    ),
    "index without map": (
        "llama",
        index_without_map,
        r"index.json has no valid weight_map; download it again",
    ),
    "tokenizer not JSON": ("llama", write("tokenizer.json", "{"), r"tokenizer.json is not valid JSON"),
    "tokenizer without model": (
        "llama",
        write("tokenizer.json", "{}"),
        r"tokenizer.json has no field 'model'",
    ),
    "tokenizer broken": (
        "llama",
        write("tokenizer.json", '{"model": {"type": "None"}}'),
        r"tokenizer.json is not accepted by the tokenizers library \(.*download it again",
    ),
    "tokenizer too large": (
        "llama",
        write("tokenizer.json", tokenizer_json()),
        r"has 258 tokens, but the model only 64; take both from one model",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_damage_is_named(case: str, tmp_path: Path) -> None:
    name, damage, message = CASES[case]
    folder = tmp_path / name
    shutil.copytree(CHECKPOINTS / name, folder)
    damage(folder)
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(folder)


def test_no_folder() -> None:
    with pytest.raises(
        CheckpointError, match=r"no checkpoint folder 'opt-13b'; give a folder .* model: tiny"
    ):
        load_pretrained("opt-13b")


def test_bad_override() -> None:
    with pytest.raises(ConfigError, match="no such field: kv_type"):
        load_pretrained("tiny", kv_type="float32")


def test_only_the_llama_family_is_written(tmp_path: Path) -> None:
    model = abstract("opt-125m")
    with pytest.raises(CheckpointError, match="opt-125m is not of the Llama family"):
        save_pretrained(model, tmp_path, "float32")
