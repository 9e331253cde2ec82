"""Decoder-only transformers in Flax NNX with an explicit KV cache.

One configuration type covers the OPT family and the Llama and Qwen families; ``tiny`` is a small trained
model that ships with the package. This package knows nothing of partitioning or of hardware.
"""

from models.abstraction import abstract
from models.checkpoint import load_pretrained
from models.config import TransformerConfig
from models.errors import CheckpointError, ConfigError, EvaluationError
from models.tokenizer import Tokenizer
from models.transformer import Transformer

__all__ = [
    "CheckpointError",
    "ConfigError",
    "EvaluationError",
    "Tokenizer",
    "Transformer",
    "TransformerConfig",
    "abstract",
    "load_pretrained",
]
