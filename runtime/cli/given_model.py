"""Finds the model that a user named."""

from __future__ import annotations

from pathlib import Path

from models import ConfigError, Tokenizer, Transformer, TransformerConfig, abstract, load_pretrained
from models.checkpoint.load import sensitivities_beside
from models.checkpoint.tensor_files import read_json
from runtime.cli.one_line_errors import ArgumentError

SHIPPED = "tiny"


def model_to_plan(name_or_folder: str) -> Transformer:
    """Returns a model without weights: planning needs shapes alone.

    Raises:
        ArgumentError: If it is neither a known name nor a folder.
        CheckpointError: If the folder holds no readable configuration.
    """
    folder = Path(name_or_folder)
    if folder.is_dir():
        config = TransformerConfig.from_hf(read_json(folder / "config.json"), folder.resolve().name)
        model = abstract(config)
    else:
        try:
            model = abstract(name_or_folder)
        except ConfigError as error:
            raise ArgumentError(f"{error}; or give a checkpoint folder") from None
    model.sensitivities = sensitivities_beside(name_or_folder)
    return model


def model_to_run(name_or_folder: str, *, lazy: bool = False) -> Transformer:
    """Returns a model with its weights and tokenizer.

    Args:
        name_or_folder: What the user gave.
        lazy: Whether weights stay in their files until a session reads them: enough for one session, while several would
            each read them anew.

    Raises:
        ArgumentError: If there are no weights, or no tokenizer to read prompts with.
        CheckpointError: If the folder cannot be read into a model.
    """
    if name_or_folder != SHIPPED and not Path(name_or_folder).is_dir():
        raise ArgumentError(
            f"no checkpoint folder {name_or_folder!r}; give a folder with config.json and safetensors, or "
            f"{SHIPPED!r}, the shipped model (a model known by name alone can be planned, not run)"
        )
    model = load_pretrained(name_or_folder, lazy=lazy)
    tokenizer_of(model)
    return model


def tokenizer_of(model: Transformer) -> Tokenizer:
    """Returns a model's tokenizer.

    Raises:
        ArgumentError: If the model has no tokenizer.
    """
    if model.tokenizer is None:
        raise ArgumentError("the checkpoint has no tokenizer.json, which is needed to read prompts")
    return model.tokenizer
