"""Writes the small random checkpoints beside this file, with what Hugging Face transformers makes of them.

Each folder gets, besides the checkpoint as ``save_pretrained`` writes it, ``reference.npz``: prompts int32[2, 24],
their logits float32[2, 24, vocab] and the 40 tokens that ``generate`` continues each prompt with, likeliest first.
All of it is computed in float32, from the weights as they are stored.

Needs torch and transformers, which the tests do not. Its argument is the folder to write to. The files here were
written with torch 2.13.0 and transformers 5.24.0 on a CPU.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import transformers

PROMPT_LEN, NUM_NEW_TOKENS, WINDOW, MOST_SEEDS = 24, 40, 8, 400
LEAST_MARGIN, LEAST_DISTINCT = 5e-3, 8
"""By how much of the logits' standard deviation each generated token leads; rounding moves them by
some 1e-5 of it. And how many different tokens each continuation has."""

COMMON = {"vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
OPT = COMMON | {"ffn_dim": 48, "max_position_embeddings": 96, "dropout": 0.0}
ROTARY = COMMON | {"intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": 96}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}


@dataclass(frozen=True)
class Recipe:
    """How one checkpoint is made."""

    config: transformers.PretrainedConfig
    stored_dtype: torch.dtype = torch.float32
    shard_size: str = "1GB"


RECIPES = {
    "opt": Recipe(transformers.OPTConfig(**OPT, word_embed_proj_dim=32)),
    "opt-post-norm": Recipe(
        transformers.OPTConfig(**OPT, word_embed_proj_dim=16, do_layer_norm_before=False)
    ),
    "opt-float16": Recipe(transformers.OPTConfig(**OPT, word_embed_proj_dim=32), torch.float16),
    "llama": Recipe(transformers.LlamaConfig(**ROTARY | {"num_key_value_heads": 4})),
    "llama3": Recipe(transformers.LlamaConfig(**ROTARY, rope_parameters=LLAMA3_ROPE), shard_size="60KB"),
    "llama-bfloat16": Recipe(transformers.LlamaConfig(**ROTARY), torch.bfloat16),
    "mistral": Recipe(transformers.MistralConfig(**ROTARY, sliding_window=WINDOW)),
    "qwen2": Recipe(transformers.Qwen2Config(**ROTARY, tie_word_embeddings=True)),
    "qwen2-window": Recipe(
        transformers.Qwen2Config(
            **ROTARY, use_sliding_window=True, sliding_window=WINDOW, max_window_layers=1
        )
    ),
    "qwen3": Recipe(transformers.Qwen3Config(**ROTARY, head_dim=16)),
}


def random_model(recipe: Recipe, seed: int) -> transformers.PreTrainedModel:
    """Returns a model of random weights, in float32 but with no more digits than it will be stored with."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(recipe.config, attn_implementation="eager")
    model = model.float().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if "embed" in name:
                parameter.copy_(0.3 * noise)
            elif parameter.ndim == 2:
                parameter.copy_(1.5 * noise / parameter.shape[1] ** 0.5)
            else:
                parameter.add_(0.2 * noise)
            parameter.copy_(parameter.to(recipe.stored_dtype).float())
    model.tie_weights()
    return model


def reference(
    model: transformers.PreTrainedModel, prompts: torch.Tensor
) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns logits of the prompts, their likeliest continuations, and the least margin of one of its tokens."""
    model.generation_config.eos_token_id = None
    with torch.no_grad():
        logits = model(prompts).logits
        made = model.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=False,
            max_new_tokens=NUM_NEW_TOKENS,
            output_logits=True,
            return_dict_in_generate=True,
            pad_token_id=0,
        )
    best = torch.stack(made.logits).topk(2).values
    margin = ((best[..., 0] - best[..., 1]) / torch.stack(made.logits).std(-1)).min()
    return logits.numpy(), made.sequences[:, PROMPT_LEN:].numpy(), float(margin)


def write_checkpoint(recipe: Recipe, folder: Path) -> None:
    """Writes the first of the seeds whose continuations are decided clearly and do not repeat one token."""
    generator = np.random.default_rng(0)
    prompts = generator.integers(3, COMMON["vocab_size"], (2, PROMPT_LEN))
    for seed in range(MOST_SEEDS):
        model = random_model(recipe, seed)
        logits, continuation, margin = reference(model, torch.from_numpy(prompts))
        if margin > LEAST_MARGIN and min(len(set(row)) for row in continuation.tolist()) >= LEAST_DISTINCT:
            break
    else:
        raise RuntimeError(f"{folder.name}: no seed gives continuations that are decided clearly")
    print(f"{folder.name}: seed {seed}, margin {margin:.3f}, largest logit {np.abs(logits).max():.2f}")
    model.to(recipe.stored_dtype).save_pretrained(folder, max_shard_size=recipe.shard_size)
    (folder / "generation_config.json").unlink(missing_ok=True)
    np.savez_compressed(
        folder / "reference.npz",
        prompts=prompts.astype(np.int32),
        logits=logits,
        continuation=continuation.astype(np.int32),
    )


if __name__ == "__main__":
    for name, recipe in RECIPES.items():
        write_checkpoint(recipe, Path(sys.argv[1]) / name)
