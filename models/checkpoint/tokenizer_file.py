"""The tokenizer of a checkpoint folder."""

from pathlib import Path
from typing import Any

from models.checkpoint.tensor_files import read_json
from models.config import TransformerConfig
from models.errors import CheckpointError
from models.tokenizer import Tokenizer

TOKENIZER_FILE = "tokenizer.json"


def read_tokenizer(
    folder: Path, config: TransformerConfig, config_fields: dict[str, Any]
) -> Tokenizer | None:
    """Returns the tokenizer in a folder, or None if the folder has none.

    Args:
        folder: The checkpoint.
        config: The model; its vocabulary must hold every id.
        config_fields: The parsed ``config.json``, which says what ends a text.

    Raises:
        CheckpointError: If the file is there but cannot be used.
    """
    file = folder / TOKENIZER_FILE
    if not file.is_file():
        return None
    fields = read_json(file)
    if not isinstance(fields.get("model"), dict):
        raise CheckpointError(f"{file} has no field 'model'; save the tokenizer in the fast format")
    eos_id = config_fields.get("eos_token_id")
    if isinstance(eos_id, list):  # several ids may end a text; the first is the one of plain documents
        eos_id = eos_id[0] if eos_id else None
    try:
        tokenizer = Tokenizer.from_json(file.read_text(encoding="utf-8"), eos_id)
    except ValueError as error:
        raise CheckpointError(
            f"{file} is not accepted by the tokenizers library ({error}); download it again"
        ) from error
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{file} has {tokenizer.vocab_size} tokens, but the model only {config.vocab_size}; "
            "take both from one model"
        )
    return tokenizer
