"""Flax models of Hugging Face transformers 4 give on the drive the tokens that they give for a batch padded on the left."""

import inspect
import warnings
from typing import Any

import jax
import numpy as np
import pytest

from partitioner import Workload, partition
from partitioner.errors import ModelError
from partitioner.frontend import adapt, from_hugging_face, trace_phase
from runtime import Session
from tests.runtime.tiny_models import demo_hardware

with warnings.catch_warnings():
    # transformers says on import that it gives up its Flax models with version 5
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    transformers: Any = pytest.importorskip("transformers", minversion="4.50", exc_type=ImportError)
    models: Any = transformers.models
if int(transformers.__version__.split(".")[0]) >= 5:
    pytest.skip("transformers 5 has no Flax models any more", allow_module_level=True)

VOCAB, PAD, NO_END = 64, 1, 1_000_000
PROMPTS = [[5, 6, 7], [9, 8, 7, 6, 5, 12], [33], [20, 21]]
WORKLOAD = Workload(batch_size=4, prompt_len=6, decode_len=6)
_IDS = {
    "vocab_size": VOCAB,
    "initializer_range": 0.3,
    "pad_token_id": PAD,
    "bos_token_id": 2,
    "eos_token_id": NO_END,
}
_GPT = {"n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4, **_IDS}
_LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    **_IDS,
}
_OPT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "ffn_dim": 48,
    "num_attention_heads": 4,
    "max_position_embeddings": 32,
    "word_embed_proj_dim": 32,
    "init_std": 0.3,
    **_IDS,
}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "OPT": ("FlaxOPTForCausalLM", "OPTConfig", _OPT),
    "GPT-2": ("FlaxGPT2LMHeadModel", "GPT2Config", _GPT),
    "Llama": ("FlaxLlamaForCausalLM", "LlamaConfig", _LLAMA),
}
"""Class, configuration and its values."""


def make(name: str) -> Any:
    """Returns a small model with random parameters."""
    kind, config, values = MODELS[name]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=FutureWarning)
        return getattr(transformers, kind)(getattr(transformers, config)(**values), seed=3)


def padded_on_the_left() -> tuple[np.ndarray, np.ndarray]:
    """Returns the prompts and their mask."""
    tokens = np.full((len(PROMPTS), WORKLOAD.prompt_len), PAD, np.int32)
    mask = np.zeros_like(tokens)
    for row, prompt in enumerate(PROMPTS):
        tokens[row, -len(prompt) :], mask[row, -len(prompt) :] = prompt, 1
    return tokens, mask


def own_tokens(model: Any) -> list[list[int]]:
    """Returns the likeliest tokens of the model itself: its own call, with its own cache, on prompts padded on the left."""
    tokens, mask = padded_on_the_left()
    length = WORKLOAD.max_len
    mask = np.concatenate([mask, np.ones((len(PROMPTS), WORKLOAD.decode_len), np.int32)], axis=1)
    positions = np.clip(mask.cumsum(-1) - 1, 0, None)
    placed = "position_ids" in inspect.signature(type(model).__call__).parameters

    @jax.jit
    def step(params: Any, *given: Any, **told: Any) -> tuple[Any, Any]:
        out = model(*given, params=params, **told)
        return out.logits, out.past_key_values

    past, made = model.init_cache(len(PROMPTS), length), []
    start, chunk = 0, tokens
    while len(made) < WORKLOAD.decode_len:
        stop = start + chunk.shape[1]
        told = {"position_ids": positions[:, start:stop]} if placed else {}
        logits, past = step(model.params, chunk, attention_mask=mask, past_key_values=past, **told)
        start, chunk = stop, np.asarray(logits)[:, -1:].argmax(-1)
        made.append(chunk[:, 0])
    return np.stack(made, axis=1).tolist()


@pytest.mark.parametrize("name", MODELS)
def test_every_layer_runs_on_the_drive_and_tokens_are_the_models_own(name: str) -> None:
    model = make(name)
    plan = partition(model, demo_hardware(), WORKLOAD, "instinfer")
    assert plan.decode.graph.unraised == ()
    attentions = [op.name for op in plan.ops("decode") if op.kind == "attention"]
    assert len(attentions) == 2
    assert all(plan.device_of("decode", op) == {"csd0": 1.0} for op in attentions)
    with Session(plan, model, clock="virtual") as session:
        result = session.generate(PROMPTS, max_new_tokens=WORKLOAD.decode_len)
    assert result.tokens == own_tokens(model)


def test_drives_and_processors_store_no_padding() -> None:
    """A drive is brought each token of each row once, and no slot before a row's first."""
    model = make("OPT")
    plan = partition(model, demo_hardware(), WORKLOAD, "instinfer")
    with Session(plan, model, clock="virtual") as session:
        result = session.generate(PROMPTS, max_new_tokens=WORKLOAD.decode_len)
    stored = sum(len(p) for p in PROMPTS) + len(PROMPTS) * (WORKLOAD.decode_len - 1)
    layers, bytes_per_token = 2, 2 * 32 * 4  # K and V, 32 numbers of 4 bytes
    assert result.drive_health["csd0"].bytes_written_by_host == layers * stored * bytes_per_token


def test_logits_of_a_padded_chunk_are_the_models_own() -> None:
    """Rows of a chunk padded on the right give the logits that the model gives for the same rows padded on the left."""
    model = make("GPT-2")
    tokens, mask = padded_on_the_left()
    positions = np.clip(mask.cumsum(-1) - 1, 0, None)
    own = np.asarray(model(tokens, attention_mask=mask, position_ids=positions).logits)[:, -1]
    function, length = adapt(model), WORKLOAD.prompt_len
    right = np.stack([np.roll(row, -int((1 - m).sum())) for row, m in zip(tokens, mask, strict=True)])
    counts = mask.sum(-1)
    given = (
        np.broadcast_to(np.arange(length), tokens.shape),
        np.arange(length) < counts[:, None],
        counts - 1,
    )
    logits, _ = jax.jit(function.step)(function.params, right, function.init_state(4, length), *given)
    np.testing.assert_allclose(np.asarray(logits)[range(4), counts - 1], own, atol=2e-5)


def test_a_decoder_that_attends_to_an_encoder_is_refused() -> None:
    model = make("OPT")
    model.config.is_encoder_decoder = True
    with pytest.raises(ModelError, match=r"FlaxOPTForCausalLM is no decoder.*pass a causal language model"):
        from_hugging_face(model)


def test_parameters_and_caches_are_named_by_their_paths() -> None:
    phase = trace_phase(adapt(make("OPT")), "decode", batch_size=2, chunk=1, max_len=8)
    names = {i.name: i.role for i in phase.inputs}
    assert names["model.decoder.layers.1.self_attn.cached_key"] == "cache"
    assert names["model.decoder.layers.1.self_attn.k_proj.kernel"] == "param"
    assert "cursor" not in names.values()
