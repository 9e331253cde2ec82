"""Writes the small random checkpoints beside this file, with their logits by Hugging Face transformers.

Needs torch and transformers, which the tests do not. Its argument is the folder to write to. The files
here were written with transformers 5.17.0.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import transformers

TOKENS = [[3, 14, 15, 9, 2, 6, 5, 35, 8, 9], [7, 9, 3, 2, 38, 4, 6, 26, 4, 33]]
COMMON = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4}
ROTARY = COMMON | {"intermediate_size": 24, "num_key_value_heads": 2, "max_position_embeddings": 64}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}
CONFIGS = {
    "opt": transformers.OPTConfig(
        **COMMON, ffn_dim=24, max_position_embeddings=64, word_embed_proj_dim=16, dropout=0.0
    ),
    "llama": transformers.LlamaConfig(**ROTARY),
    "llama3": transformers.LlamaConfig(**ROTARY, rope_parameters=LLAMA3_ROPE),
    "qwen2": transformers.Qwen2Config(**ROTARY, tie_word_embeddings=True),
    "qwen3": transformers.Qwen3Config(**ROTARY, head_dim=8),
}


def write_checkpoint(name: str, folder: Path) -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name], attn_implementation="eager")
    model = model.float().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        logits = model(torch.tensor(TOKENS)).logits
    model.save_pretrained(folder)
    np.save(folder / "logits.npy", logits.numpy())
    np.save(folder / "tokens.npy", np.array(TOKENS, np.int32))


if __name__ == "__main__":
    for config_name in CONFIGS:
        write_checkpoint(config_name, Path(sys.argv[1]) / config_name)
