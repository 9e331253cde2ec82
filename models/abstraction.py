"""Models without memory: shapes and dtypes in the place of parameters."""

from typing import Any

from flax import nnx

from models.config import TransformerConfig
from models.transformer import Transformer


def abstract(model: str | TransformerConfig, **overrides: Any) -> Transformer:
    """Returns a transformer whose parameters are ``jax.ShapeDtypeStruct``; nothing is allocated.

    Args:
        model: A name that ``TransformerConfig.named`` knows, or a configuration.
        **overrides: Fields of the configuration to change, such as ``kv_dtype="float32"``.

    Raises:
        ConfigError: If the name or a field is not known, or a value breaks a rule.
    """
    named = TransformerConfig.named(model) if isinstance(model, str) else model
    config = named.replace(**overrides)
    return nnx.eval_shape(lambda: Transformer(config, rngs=nnx.Rngs(0)))
