"""Configurations of known models.

Sources: OPT, table 1 of Zhang et al., arXiv:2205.01068; Llama 2, Touvron et al., arXiv:2307.09288; Llama 3,
table 3 of arXiv:2407.21783; Mistral 7B, table 1 of arXiv:2310.06825; Qwen3, table 1 of arXiv:2505.09388;
vocabulary, feed-forward width, rotary base, epsilon, and where OPT-350M has norms and projections, from the
``config.json`` that each publisher ships with the weights.
"""

from models.config import TransformerConfig
from models.rope_scaling import Llama3RopeScaling


def _opt(size: str, hidden_size: int, num_layers: int, num_heads: int) -> TransformerConfig:
    return TransformerConfig(
        name=f"opt-{size}",
        vocab_size=50272,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_heads,
        head_size=hidden_size // num_heads,
        ffn_size=4 * hidden_size,
        max_position=2048,
        norm="layernorm",
        activation="relu",
        position="learned",
        position_offset=2,
        qkv_bias=True,
        out_bias=True,
        mlp_bias=True,
        tied_embedding=True,
    )


def _llama2(
    size: str, *, hidden_size: int, num_layers: int, num_heads: int, num_kv_heads: int, ffn_size: int
) -> TransformerConfig:
    return TransformerConfig(
        name=f"llama-2-{size}",
        vocab_size=32000,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_size=128,
        ffn_size=ffn_size,
        max_position=4096,
        norm="rmsnorm",
        activation="swiglu",
        position="rotary",
    )


def _llama3(size: str, hidden_size: int, num_layers: int, num_heads: int, ffn_size: int) -> TransformerConfig:
    return TransformerConfig(
        name=f"llama-3-{size}",
        vocab_size=128256,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=8,
        head_size=128,
        ffn_size=ffn_size,
        max_position=8192,
        norm="rmsnorm",
        activation="swiglu",
        position="rotary",
        rope_theta=500000.0,
        param_dtype="bfloat16",
        compute_dtype="bfloat16",
        kv_dtype="bfloat16",
    )


def _qwen3(
    size: str, *, hidden_size: int, num_layers: int, num_heads: int, ffn_size: int, tied_embedding: bool
) -> TransformerConfig:
    return TransformerConfig(
        name=f"qwen3-{size}",
        vocab_size=151936,
        hidden_size=hidden_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=8,
        head_size=128,
        ffn_size=ffn_size,
        max_position=40960,
        norm="rmsnorm",
        activation="swiglu",
        position="rotary",
        rope_theta=1000000.0,
        qk_norm=True,
        tied_embedding=tied_embedding,
        norm_eps=1e-6,
        param_dtype="bfloat16",
        compute_dtype="bfloat16",
        kv_dtype="bfloat16",
    )


TINY = TransformerConfig(
    name="tiny",
    vocab_size=258,
    hidden_size=256,
    num_layers=4,
    num_heads=4,
    num_kv_heads=4,
    head_size=64,
    ffn_size=768,
    max_position=2048,
    norm="rmsnorm",
    activation="swiglu",
    position="rotary",
    param_dtype="float32",
    compute_dtype="float32",
    kv_dtype="float16",
)

LLAMA_31_8B = _llama3("8b", 4096, 32, 32, 14336).replace(
    name="llama-3.1-8b",
    max_position=131072,
    rope_scaling=Llama3RopeScaling(
        factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position=8192
    ),
)

OPT_350M = _opt("350m", 1024, 24, 16).replace(norm_position="post", final_norm=False, embed_size=512)

MISTRAL_7B = _llama2(
    "7b", hidden_size=4096, num_layers=32, num_heads=32, num_kv_heads=8, ffn_size=14336
).replace(
    name="mistral-7b",
    max_position=32768,
    window=4096,
    param_dtype="bfloat16",
    compute_dtype="bfloat16",
    kv_dtype="bfloat16",
)

PRESETS: dict[str, TransformerConfig] = {
    config.name: config
    for config in (
        TINY,
        _opt("125m", 768, 12, 12),
        OPT_350M,
        _opt("1.3b", 2048, 24, 32),
        _opt("2.7b", 2560, 32, 32),
        _opt("6.7b", 4096, 32, 32),
        _opt("13b", 5120, 40, 40),
        _opt("30b", 7168, 48, 56),
        _opt("66b", 9216, 64, 72),
        _opt("175b", 12288, 96, 96),
        _llama2("7b", hidden_size=4096, num_layers=32, num_heads=32, num_kv_heads=32, ffn_size=11008),
        _llama2("13b", hidden_size=5120, num_layers=40, num_heads=40, num_kv_heads=40, ffn_size=13824),
        _llama2("70b", hidden_size=8192, num_layers=80, num_heads=64, num_kv_heads=8, ffn_size=28672),
        _llama3("8b", 4096, 32, 32, 14336),
        _llama3("70b", 8192, 80, 64, 28672),
        LLAMA_31_8B,
        MISTRAL_7B,
        _qwen3("0.6b", hidden_size=1024, num_layers=28, num_heads=16, ffn_size=3072, tied_embedding=True),
        _qwen3("8b", hidden_size=4096, num_layers=36, num_heads=32, ffn_size=12288, tied_embedding=False),
    )
}
