"""Loading of trained models."""

from pathlib import Path
from typing import Any

import jax
from flax import nnx
from flax.typing import PathParts
from jax import numpy as jnp

from models.abstraction import abstract
from models.checkpoint.stored_parameter import StoredParameter
from models.checkpoint.tensor_files import StoredTensor, find_tensors, read_json
from models.checkpoint.tensor_names import TensorNaming
from models.checkpoint.tokenizer_file import read_tokenizer
from models.config import TransformerConfig
from models.errors import CheckpointError
from models.transformer import Transformer

SHIPPED = {"tiny": Path(__file__).parent.parent / "tiny"}
"""Folders of the models that come with the package, by name."""

SENSITIVITIES = "sensitivities.json"
"""Name of the file that says what sparse attention costs each layer."""


def load_pretrained(folder: str | Path, *, lazy: bool = False, **overrides: Any) -> Transformer:
    """Returns a trained model with its parameters and its tokenizer.

    Tensors are read one at a time, in pieces, and cast to ``param_dtype`` on the way.

    Args:
        folder: A folder in the format of Hugging Face: ``config.json``, ``model.safetensors`` or its shards
            with their index, and ``tokenizer.json`` if there is one. Or ``"tiny"``, the model that comes with
            the package.
        lazy: Whether parameters stay in their files (:class:`StoredParameter`) until a session reads each one to the
            device that is its home, so that the host never holds the model besides. Such a model can be planned, run and
            called; to compile or train it, load it with its values.
        **overrides: Fields of the configuration to change, such as ``kv_dtype="float32"``.

    Raises:
        CheckpointError: If the folder cannot be read into a model.
        ConfigError: If an override is not a field of the configuration, or its value breaks a rule.
    """
    path = checkpoint_folder(folder)
    if not path.is_dir():
        raise CheckpointError(
            f"no checkpoint folder {str(path)!r}; give a folder with config.json and safetensors, "
            f"or the name of a shipped model: {', '.join(SHIPPED)}"
        )
    config_fields = read_json(path / "config.json")
    config = TransformerConfig.from_hf(config_fields).replace(**overrides)
    model = abstract(config)
    graph, params = nnx.split(model, nnx.Param)
    flat = nnx.to_flat_state(params)
    stored = _match(config, {param_path: param.shape for param_path, param in flat}, find_tensors(path))
    dtype = jnp.dtype(config.param_dtype)
    parameters = {key: StoredParameter(stored[key], dtype, key[-1] == "kernel") for key, _ in flat}
    loaded = [
        (key, param.replace(parameters[key] if lazy else jax.device_put(parameters[key].read())))
        for key, param in flat
    ]
    model = nnx.merge(graph, nnx.from_flat_state(loaded))
    model.tokenizer = read_tokenizer(path, config, config_fields)
    model.sensitivities = sensitivities_beside(path)
    return model


def checkpoint_folder(folder: str | Path) -> Path:
    """Returns where a checkpoint is: the folder itself, or that of a shipped model by its name."""
    return SHIPPED.get(str(folder), Path(folder))


def sensitivities_beside(folder: str | Path) -> Path | None:
    """Returns the file in a checkpoint folder, or of a shipped model, that says what sparse attention costs; None without."""
    path = checkpoint_folder(folder) / SENSITIVITIES
    return path if path.is_file() else None


def _match(
    config: TransformerConfig,
    shapes: dict[PathParts, tuple[int, ...]],
    tensors: dict[str, StoredTensor],
) -> dict[PathParts, StoredTensor]:
    """Returns the stored tensor of every parameter, after checking names and shapes."""
    naming = TensorNaming.of(config, frozenset(tensors))
    matched: dict[PathParts, StoredTensor] = {}
    for path, model_shape in shapes.items():
        wanted = naming.tensor_name(path)
        shape = model_shape[::-1] if wanted.is_transposed else model_shape
        tensor = tensors.get(wanted.name)
        if tensor is None:
            raise CheckpointError(
                f"tensor {wanted.name!r} is missing; the checkpoint is incomplete or is not the model "
                "that its config.json describes"
            )
        if tensor.shape != shape:
            raise CheckpointError(
                f"tensor {wanted.name!r} has shape {tensor.shape}, but config.json asks for {shape}; "
                "take both from one model"
            )
        matched[path] = tensor
    used = {tensor.name for tensor in matched.values()}
    extra = sorted(name for name in tensors.keys() - used if not naming.is_redundant(name, config))
    if extra:
        raise CheckpointError(
            f"{len(extra)} unexpected tensors, the first {extra[0]!r}; the checkpoint holds more than the "
            "model that its config.json describes"
        )
    return matched
