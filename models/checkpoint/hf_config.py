"""Translation of a Hugging Face ``config.json`` into a configuration, and back.

Field names and defaults are those of the ``OPTConfig``, ``LlamaConfig``, ``MistralConfig``, ``Qwen2Config`` and
``Qwen3Config`` classes of Hugging Face transformers. A section ``dtypes`` of our own may set ``param``, ``compute`` and
``kv`` apart.
"""

from collections.abc import Callable, Mapping
from typing import Any

from models.config import FLOAT_DTYPES, TransformerConfig
from models.errors import CheckpointError, ConfigError
from models.rope_scaling import Llama3RopeScaling


def parse_hf_config(fields: Mapping[str, Any], name: str | None = None) -> TransformerConfig:
    """Returns the configuration that a parsed ``config.json`` describes.

    Args:
        fields: The parsed file.
        name: Name to give it; by default the one in the file, else the model type.

    Raises:
        CheckpointError: If the model type or an option is not supported, or a field is missing or wrong.
    """
    model_type = fields.get("model_type")
    parse = _PARSERS.get(model_type) if isinstance(model_type, str) else None
    if parse is None:
        raise CheckpointError(f"model_type {model_type!r} is not supported; use one of {', '.join(_PARSERS)}")
    chosen_name = name or fields.get("_name_or_path") or model_type
    try:
        settings = parse(fields) | _dtypes(fields)
        return TransformerConfig(name=str(chosen_name), **settings)
    except (ConfigError, TypeError) as error:
        raise CheckpointError(f"config.json describes no valid model: {error}") from error


def to_hf_config(config: TransformerConfig, stored_dtype: str) -> dict[str, Any]:
    """Returns the ``config.json`` of a model of the Llama family.

    Args:
        config: What to describe; RMSNorm, SwiGLU and rotary positions, with neither QK norm, scaling nor window.
        stored_dtype: Dtype of the tensors in the file.

    Raises:
        CheckpointError: If the model is not of the Llama family.
    """
    is_llama = (config.norm, config.activation, config.position) == ("rmsnorm", "swiglu", "rotary")
    is_llama &= config.norm_position == "pre" and config.final_norm and config.qkv_bias == config.out_bias
    if not is_llama or config.qk_norm or config.rope_scaling or config.window or config.embed_size:
        raise CheckpointError(f"{config.name} is not of the Llama family; only that family can be written")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "_name_or_path": config.name,
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.ffn_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_size,
        "max_position_embeddings": config.max_position,
        "hidden_act": "silu",
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
        "attention_bias": config.qkv_bias,
        "mlp_bias": config.mlp_bias,
        "tie_word_embeddings": config.tied_embedding,
        "torch_dtype": stored_dtype,
        "dtypes": {"param": config.param_dtype, "compute": config.compute_dtype, "kv": config.kv_dtype},
    }


def _opt(fields: Mapping[str, Any]) -> dict[str, Any]:
    hidden_size = _count(fields, "hidden_size")
    _expect(fields, "activation_function", "relu", "another activation than relu")
    _expect(fields, "layer_norm_elementwise_affine", True, "norms without scale and bias")
    num_heads = _count(fields, "num_attention_heads")
    use_bias = _optional(fields, "enable_bias", True)
    is_pre_norm = _optional(fields, "do_layer_norm_before", True)
    embed_size = _optional(fields, "word_embed_proj_dim", hidden_size)
    return {
        "vocab_size": _count(fields, "vocab_size"),
        "hidden_size": hidden_size,
        "num_layers": _count(fields, "num_hidden_layers"),
        "num_heads": num_heads,
        "num_kv_heads": num_heads,
        "head_size": hidden_size // num_heads,
        "ffn_size": _count(fields, "ffn_dim"),
        "max_position": _count(fields, "max_position_embeddings"),
        "norm": "layernorm",
        "norm_position": "pre" if is_pre_norm else "post",
        "final_norm": is_pre_norm and not _optional(fields, "_remove_final_layer_norm", False),
        "embed_size": None if embed_size == hidden_size else embed_size,
        "activation": "relu",
        "position": "learned",
        "position_offset": 2,
        "qkv_bias": use_bias,
        "out_bias": use_bias,
        "mlp_bias": use_bias,
        "tied_embedding": _optional(fields, "tie_word_embeddings", True),
    }


def _llama(fields: Mapping[str, Any]) -> dict[str, Any]:
    use_bias = _optional(fields, "attention_bias", False)
    return _rotary_family(fields) | {
        "qkv_bias": use_bias,
        "out_bias": use_bias,
        "mlp_bias": _optional(fields, "mlp_bias", False),
    }


def _mistral(fields: Mapping[str, Any]) -> dict[str, Any]:
    # MistralConfig takes a file without the field for one with a window of 4096 and null for one without any
    return _rotary_family(fields) | _window(fields, fields.get("sliding_window", 4096), num_full_layers=0)


def _qwen2(fields: Mapping[str, Any]) -> dict[str, Any]:
    return _rotary_family(fields) | _qwen_window(fields) | {"qkv_bias": True}


def _qwen3(fields: Mapping[str, Any]) -> dict[str, Any]:
    use_bias = _optional(fields, "attention_bias", False)
    biases = {"qkv_bias": use_bias, "out_bias": use_bias}
    return _rotary_family(fields) | _qwen_window(fields) | biases | {"qk_norm": True}


_PARSERS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "opt": _opt,
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
}


def _rotary_family(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what Llama, Mistral and Qwen have in common."""
    _expect(fields, "hidden_act", "silu", "another activation than silu")
    hidden_size, num_heads = _count(fields, "hidden_size"), _count(fields, "num_attention_heads")
    rope = _optional(fields, "rope_parameters", None) or _optional(fields, "rope_scaling", None) or {}
    return {
        "vocab_size": _count(fields, "vocab_size"),
        "hidden_size": hidden_size,
        "num_layers": _count(fields, "num_hidden_layers"),
        "num_heads": num_heads,
        "num_kv_heads": _optional(fields, "num_key_value_heads", num_heads),
        "head_size": _optional(fields, "head_dim", hidden_size // num_heads),
        "ffn_size": _count(fields, "intermediate_size"),
        "max_position": _count(fields, "max_position_embeddings"),
        "norm": "rmsnorm",
        "activation": "swiglu",
        "position": "rotary",
        "rope_theta": float(rope.get("rope_theta", _optional(fields, "rope_theta", 10000.0))),
        "rope_scaling": _rope_scaling(rope),
        "tied_embedding": _optional(fields, "tie_word_embeddings", False),
        "norm_eps": float(_optional(fields, "rms_norm_eps", 1e-6)),
    }


def _qwen_window(fields: Mapping[str, Any]) -> dict[str, Any]:
    if not _optional(fields, "use_sliding_window", False):
        return {}
    # the default of both classes; the first max_window_layers layers see everything
    return _window(fields, fields.get("sliding_window", 4096), _optional(fields, "max_window_layers", 28))


def _window(fields: Mapping[str, Any], window: int | None, num_full_layers: int) -> dict[str, Any]:
    """Returns the window's settings, none where it reaches over the longest context or no layer has it."""
    num_layers, longest = _count(fields, "num_hidden_layers"), _count(fields, "max_position_embeddings")
    if window is None or window >= longest:
        return {}
    windowed = ["full_attention"] * num_full_layers + ["sliding_attention"] * (num_layers - num_full_layers)
    stated = _optional(fields, "layer_types", windowed)
    if list(stated) != windowed[:num_layers]:
        raise CheckpointError(
            f"layer_types {stated} with a window is not supported; use a model whose windowed layers follow its "
            "max_window_layers full ones"
        )
    return {"window": window, "num_full_layers": num_full_layers} if num_full_layers < num_layers else {}


def _rope_scaling(rope: Mapping[str, Any]) -> Llama3RopeScaling | None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind != "llama3":
        raise CheckpointError(f"rope type {kind!r} is not supported; use a model with 'default' or 'llama3'")
    return Llama3RopeScaling(
        factor=float(_required(rope, "factor")),
        low_freq_factor=float(_required(rope, "low_freq_factor")),
        high_freq_factor=float(_required(rope, "high_freq_factor")),
        original_max_position=int(_required(rope, "original_max_position_embeddings")),
    )


def _dtypes(fields: Mapping[str, Any]) -> dict[str, Any]:
    stored = _optional(fields, "torch_dtype", None) or _optional(fields, "dtype", None) or "float32"
    if stored not in FLOAT_DTYPES:
        supported = ", ".join(FLOAT_DTYPES)
        raise CheckpointError(f"torch_dtype {stored!r} is not supported; use one of {supported}")
    own = _optional(fields, "dtypes", {})
    return {f"{role}_dtype": own.get(role, stored) for role in ("param", "compute", "kv")}


def _count(fields: Mapping[str, Any], key: str) -> int:
    value = _required(fields, key)
    if not isinstance(value, int) or value < 1:
        raise CheckpointError(f"config.json gives {key} as {value!r}; it must be a positive integer")
    return value


def _required(fields: Mapping[str, Any], key: str) -> Any:
    if fields.get(key) is None:
        raise CheckpointError(
            f"config.json has no field {key!r}; take the file that the model was published with"
        )
    return fields[key]


def _optional(fields: Mapping[str, Any], key: str, default: Any) -> Any:
    value = fields.get(key)
    return default if value is None else value


def _expect(fields: Mapping[str, Any], key: str, supported: Any, what: str) -> None:
    value = _optional(fields, key, supported)
    if value != supported:
        raise CheckpointError(
            f"{what} ({key}={value!r}) is not supported; use a model with {key}={supported!r}"
        )
