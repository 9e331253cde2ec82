"""The committed checkpoints of every family, and what the reference makes of them."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "checkpoints"
FLOAT32: dict[str, Any] = dict.fromkeys(("param_dtype", "compute_dtype", "kv_dtype"), "float32")
# Overrides with which a checkpoint is loaded to compute as the reference did: in float32, from the weights as stored.
CHECKPOINTS: dict[str, dict[str, Any]] = {
    "opt": FLOAT32,
    "opt-post-norm": FLOAT32,
    "opt-float16": FLOAT32 | {"param_dtype": "float16"},
    "llama": FLOAT32,
    "llama3": FLOAT32,
    "llama-bfloat16": FLOAT32 | {"param_dtype": "bfloat16"},
    "mistral": FLOAT32,
    "qwen2": FLOAT32,
    "qwen2-window": FLOAT32,
    "qwen3": FLOAT32,
}
FAMILIES = tuple(name for name, settings in CHECKPOINTS.items() if settings == FLOAT32)
"""Those that are stored in float32: one for each form of model."""
WINDOWED = {"mistral": (8, 0), "qwen2-window": (8, 1)}
"""Window and number of leading layers without it."""


@dataclass(frozen=True)
class Reference:
    """What Hugging Face transformers computed, in float32 on a CPU.

    Attributes:
        prompts: int32[2, 24].
        logits: float32[2, 24, vocab].
        continuation: int32[2, 40], the likeliest tokens after each prompt.
    """

    prompts: np.ndarray
    logits: np.ndarray
    continuation: np.ndarray


@cache
def reference(name: str) -> Reference:
    with np.load(FOLDER / name / "reference.npz") as arrays:
        return Reference(arrays["prompts"], arrays["logits"], arrays["continuation"])
