"""The configuration of a decoder-only transformer."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from jax import numpy as jnp

from models.errors import ConfigError
from models.rope_scaling import Llama3RopeScaling

Norm = Literal["layernorm", "rmsnorm"]
Activation = Literal["relu", "swiglu"]
Position = Literal["learned", "rotary"]
NormPosition = Literal["pre", "post"]

FLOAT_DTYPES = ("float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerConfig:
    """Describes a decoder-only transformer; immutable, hashable and checked when built.

    Attributes:
        name: Name for reports, such as ``opt-13b``.
        vocab_size: Rows of the token embedding.
        hidden_size: Width of the residual stream.
        num_layers: Number of blocks.
        num_heads: Query heads.
        num_kv_heads: Key and value heads; divides ``num_heads``, equal to it without grouped queries.
        head_size: Width of one head; ``num_heads * head_size`` need not equal ``hidden_size``.
        ffn_size: Inner width of the feed-forward layer.
        max_position: Longest context in tokens.
        norm: ``layernorm`` (scale and bias) or ``rmsnorm`` (scale).
        norm_position: ``pre``: attention and feed-forward each read a normalised residual stream; ``post``: the stream is
            normalised after each was added.
        final_norm: Whether the stream is normalised once more before the output projection.
        activation: ``relu`` (two matrices) or ``swiglu`` (three).
        position: ``learned`` table or ``rotary``.
        rope_theta: Base of the rotary frequencies.
        rope_scaling: Scaling of the rotary frequencies, or None.
        position_offset: Rows of the learned table before position 0 (2 in OPT).
        qkv_bias: Whether query, key and value projections have a bias.
        out_bias: Whether the attention output projection has a bias.
        mlp_bias: Whether the feed-forward projections have a bias.
        window: Slots that a token sees, its own and those before it; None for all.
        num_full_layers: Leading layers that see all slots in spite of the window.
        qk_norm: Whether queries and keys are RMS-normalised per head before the rotation.
        embed_size: Width of the token embedding, which projections bring to ``hidden_size`` and back; None for
            ``hidden_size`` without projections.
        tied_embedding: Whether the token embedding is also the output projection.
        norm_eps: Added to the variance in every norm.
        param_dtype: Dtype in which parameters are stored.
        compute_dtype: Dtype of activations; sums, norms, softmax and logits are float32.
        kv_dtype: Dtype in which keys and values are cached.
    """

    name: str
    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_size: int
    ffn_size: int
    max_position: int
    norm: Norm
    activation: Activation
    position: Position
    norm_position: NormPosition = "pre"
    final_norm: bool = True
    rope_theta: float = 10000.0
    rope_scaling: Llama3RopeScaling | None = None
    position_offset: int = 0
    qkv_bias: bool = False
    out_bias: bool = False
    mlp_bias: bool = False
    window: int | None = None
    num_full_layers: int = 0
    qk_norm: bool = False
    embed_size: int | None = None
    tied_embedding: bool = False
    norm_eps: float = 1e-5
    param_dtype: str = "float16"
    compute_dtype: str = "float16"
    kv_dtype: str = "float16"

    def __post_init__(self) -> None:
        for field in (*_POSITIVE_COUNTS, *_OPTIONAL_COUNTS):
            count = getattr(self, field)
            if count is None and field in _OPTIONAL_COUNTS:
                continue
            if not isinstance(count, int) or isinstance(count, bool) or count < 1:
                raise ConfigError(f"{self.name}: {field} must be a positive integer, got {count!r}")
        for field, allowed in _CHOICES.items():
            choice = getattr(self, field)
            if choice not in allowed:
                raise ConfigError(f"{self.name}: {field} must be one of {', '.join(allowed)}, got {choice!r}")
        if self.num_heads % self.num_kv_heads:
            raise ConfigError(
                f"{self.name}: num_heads {self.num_heads} is not a multiple of "
                f"num_kv_heads {self.num_kv_heads}"
            )
        if self.position == "rotary" and self.head_size % 2:
            raise ConfigError(f"{self.name}: rotary positions need an even head_size, got {self.head_size}")
        if self.position_offset < 0 or (self.position_offset and self.position != "learned"):
            raise ConfigError(
                f"{self.name}: position_offset {self.position_offset} must be zero, "
                "or positive with learned positions"
            )
        if not 0 <= self.num_full_layers <= (self.num_layers if self.window else 0):
            raise ConfigError(
                f"{self.name}: num_full_layers {self.num_full_layers} must be zero, or at most num_layers "
                f"{self.num_layers} with a window"
            )
        if self.rope_scaling is not None and self.position != "rotary":
            raise ConfigError(f"{self.name}: rope_scaling needs rotary positions, got {self.position}")
        if self.rope_theta <= 0 or self.norm_eps <= 0:
            raise ConfigError(
                f"{self.name}: rope_theta and norm_eps must be positive, "
                f"got {self.rope_theta} and {self.norm_eps}"
            )

    @classmethod
    def named(cls, name: str) -> "TransformerConfig":
        """Returns the configuration of a known model.

        Raises:
            ConfigError: If the name is not known; the message lists those that are.
        """
        from models.presets import PRESETS

        if name not in PRESETS:
            raise ConfigError(f"unknown model {name!r}; known are {', '.join(PRESETS)}")
        return PRESETS[name]

    @classmethod
    def from_hf(cls, fields: Mapping[str, Any], name: str | None = None) -> "TransformerConfig":
        """Returns the configuration that a Hugging Face ``config.json`` describes.

        Args:
            fields: The parsed file.
            name: Name to give it; by default the one in the file, else the model type.

        Raises:
            CheckpointError: If the model type or one of its options is not supported, or a field is missing.
        """
        from models.checkpoint.hf_config import parse_hf_config

        return parse_hf_config(fields, name)

    def replace(self, **changes: Any) -> Self:
        """Returns a copy with the named fields changed, checked anew.

        Raises:
            ConfigError: If a field does not exist or a value breaks a rule.
        """
        known = {field.name for field in dataclasses.fields(self)}
        unknown = sorted(changes.keys() - known)
        if unknown:
            raise ConfigError(f"no such field: {', '.join(unknown)}; fields are {', '.join(sorted(known))}")
        return dataclasses.replace(self, **changes)

    @property
    def query_size(self) -> int:
        """Width of all query heads together."""
        return self.num_heads * self.head_size

    @property
    def kv_size(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.num_kv_heads * self.head_size

    @property
    def group_size(self) -> int:
        """Query heads that share one key and value head."""
        return self.num_heads // self.num_kv_heads

    @property
    def num_parameters(self) -> int:
        """Number of distinct parameters; a tied embedding counts once."""
        norm = self.hidden_size * (2 if self.norm == "layernorm" else 1)
        attention = self.hidden_size * (2 * self.query_size + 2 * self.kv_size)
        attention += self.qkv_bias * (self.query_size + 2 * self.kv_size) + self.out_bias * self.hidden_size
        attention += self.qk_norm * 2 * self.head_size
        num_inward = 2 if self.activation == "swiglu" else 1
        mlp = (num_inward + 1) * self.hidden_size * self.ffn_size
        mlp += self.mlp_bias * (num_inward * self.ffn_size + self.hidden_size)
        num_tables = 1 if self.tied_embedding else 2
        embedding = num_tables * self.vocab_size * self.token_size
        if self.embed_size is not None:
            embedding += 2 * self.embed_size * self.hidden_size
        if self.position == "learned":
            embedding += (self.max_position + self.position_offset) * self.hidden_size
        return embedding + self.num_layers * (attention + mlp + 2 * norm) + self.final_norm * norm

    @property
    def token_size(self) -> int:
        """Width of the token embedding."""
        return self.hidden_size if self.embed_size is None else self.embed_size

    def window_of(self, layer: int) -> int | None:
        """Returns how many slots a token sees in a layer, or None for all."""
        return self.window if layer >= self.num_full_layers else None

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of key and value that one token adds to the cache, over all layers."""
        return 2 * self.num_layers * self.kv_size * jnp.dtype(self.kv_dtype).itemsize


_POSITIVE_COUNTS = (
    "vocab_size",
    "hidden_size",
    "num_layers",
    "num_heads",
    "num_kv_heads",
    "head_size",
    "ffn_size",
    "max_position",
)
_OPTIONAL_COUNTS = ("window", "embed_size")
_CHOICES: dict[str, tuple[str, ...]] = {
    "norm": get_args(Norm),
    "activation": get_args(Activation),
    "position": get_args(Position),
    "norm_position": get_args(NormPosition),
    "param_dtype": FLOAT_DTYPES,
    "compute_dtype": FLOAT_DTYPES,
    "kv_dtype": FLOAT_DTYPES,
}
