"""Saving of trained models."""

import json
from pathlib import Path

import numpy as np
from flax import nnx
from jax import numpy as jnp
from safetensors.numpy import save_file

from models.checkpoint.hf_config import to_hf_config
from models.checkpoint.tensor_files import SINGLE_FILE
from models.checkpoint.tensor_names import TensorNaming
from models.transformer import Transformer


def save_pretrained(model: Transformer, folder: Path, stored_dtype: str, eos_id: int | None = None) -> None:
    """Writes ``config.json`` and ``model.safetensors`` in the format of Hugging Face.

    Args:
        model: A model of the Llama family.
        folder: Made if it is not there.
        stored_dtype: Dtype of the tensors in the file.
        eos_id: Id that ends a text, noted in the configuration.

    Raises:
        CheckpointError: If the model is not of the Llama family.
    """
    fields = to_hf_config(model.config, stored_dtype) | {"eos_token_id": eos_id}
    naming = TensorNaming.of(model.config)
    tensors: dict[str, np.ndarray] = {}
    for path, param in nnx.to_flat_state(nnx.state(model, nnx.Param)):
        target = naming.tensor_name(path)
        values = np.asarray(param[...]).astype(jnp.dtype(stored_dtype))
        tensors[target.name] = np.ascontiguousarray(values.T if target.is_transposed else values)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", encoding="utf-8")
    save_file(tensors, folder / SINGLE_FILE, metadata={"format": "pt"})
