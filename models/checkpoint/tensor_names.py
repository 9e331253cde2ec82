"""Where each parameter of a model is found in a Hugging Face checkpoint."""

from dataclasses import dataclass

from flax.typing import PathParts

from models.config import TransformerConfig

_PREFIXES = {"opt": ("model.decoder.", "decoder."), "llama": ("model.", "")}

_MODULES = {
    "opt": {
        ("embed", "token"): "embed_tokens",
        ("embed", "position"): "embed_positions",
        ("embed", "project"): "project_in",
        ("project",): "project_out",
        ("norm",): "final_layer_norm",
        ("norm1",): "self_attn_layer_norm",
        ("norm2",): "final_layer_norm",
        ("attention", "query"): "self_attn.q_proj",
        ("attention", "key"): "self_attn.k_proj",
        ("attention", "value"): "self_attn.v_proj",
        ("attention", "out"): "self_attn.out_proj",
        ("mlp", "up"): "fc1",
        ("mlp", "down"): "fc2",
    },
    "llama": {
        ("embed", "token"): "embed_tokens",
        ("norm",): "norm",
        ("norm1",): "input_layernorm",
        ("norm2",): "post_attention_layernorm",
        ("attention", "query"): "self_attn.q_proj",
        ("attention", "key"): "self_attn.k_proj",
        ("attention", "value"): "self_attn.v_proj",
        ("attention", "out"): "self_attn.o_proj",
        ("attention", "query_norm"): "self_attn.q_norm",
        ("attention", "key_norm"): "self_attn.k_norm",
        ("mlp", "gate"): "mlp.gate_proj",
        ("mlp", "up"): "mlp.up_proj",
        ("mlp", "down"): "mlp.down_proj",
    },
}


@dataclass(frozen=True, slots=True)
class TensorName:
    """The name of a parameter's tensor in a checkpoint.

    Attributes:
        name: Name in the file.
        is_transposed: Whether the file holds [out, in] where the model holds [in, out].
    """

    name: str
    is_transposed: bool


@dataclass(frozen=True, slots=True)
class TensorNaming:
    """Names the tensors of one checkpoint.

    Attributes:
        family: ``opt`` or ``llama`` (Mistral and Qwen included).
        prefix: What the names of everything but the output projection begin with.
    """

    family: str
    prefix: str

    @classmethod
    def of(cls, config: TransformerConfig, present: frozenset[str] = frozenset()) -> "TensorNaming":
        """Returns the naming of a checkpoint.

        Args:
            config: The model.
            present: Names in the checkpoint; the first known prefix that one of them bears is taken.
        """
        family = "opt" if config.position == "learned" else "llama"
        prefixes = _PREFIXES[family]
        found = [prefix for prefix in prefixes if f"{prefix}embed_tokens.weight" in present]
        return cls(family, found[0] if found else prefixes[0])

    def tensor_name(self, path: PathParts) -> TensorName:
        """Returns where a parameter is found.

        Args:
            path: In the module tree, such as ``("blocks", 3, "attention", "query", "kernel")``.
        """
        *module, leaf = path
        suffix = "bias" if leaf == "bias" else "weight"
        is_transposed = leaf == "kernel"
        if module == ["lm_head"]:
            return TensorName(f"lm_head.{suffix}", is_transposed)
        layer = ""
        if module[0] == "blocks":
            layer, module = f"layers.{module[1]}.", module[2:]
        names = _MODULES[self.family]
        return TensorName(f"{self.prefix}{layer}{names[tuple(map(str, module))]}.{suffix}", is_transposed)

    def is_redundant(self, name: str, config: TransformerConfig) -> bool:
        """Returns whether a tensor may be left unread: a tied output, or rotary frequencies."""
        is_tied_output = config.tied_embedding and name == "lm_head.weight"
        return is_tied_output or name.endswith(".rotary_emb.inv_freq")
