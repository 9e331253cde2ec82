"""The safetensors files of a checkpoint, read one tensor at a time."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from models.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file, not yet read.

    Attributes:
        name: Name in the file.
        file: The file.
        shape: Its shape, from the header.
    """

    name: str
    file: Path
    shape: tuple[int, ...]

    def read(self) -> np.ndarray:
        """Reads the tensor into memory, in the dtype of the file."""
        try:
            with safe_open(self.file, framework="numpy") as handle:
                return handle.get_tensor(self.name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"tensor {self.name!r} of {self.file} cannot be read: {error}") from error


def find_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Returns every tensor of a checkpoint by name; reads headers only.

    Args:
        folder: Holds ``model.safetensors``, or shards and ``model.safetensors.index.json``.

    Raises:
        CheckpointError: If there is neither, a shard is missing or lacks a tensor, or a file is damaged.
    """
    if (folder / SINGLE_FILE).is_file():
        return _read_header(folder / SINGLE_FILE)
    if not (folder / INDEX_FILE).is_file():
        raise CheckpointError(
            f"{folder} holds neither {SINGLE_FILE} nor {INDEX_FILE}; "
            "convert the weights to safetensors or download them in that format"
        )
    return _read_shards(folder, _shard_of_tensor(folder / INDEX_FILE))


def read_json(file: Path) -> dict[str, Any]:
    """Returns the object in a JSON file.

    Raises:
        CheckpointError: If the file is missing, is not JSON, or holds something else than an object.
    """
    if not file.is_file():
        raise CheckpointError(f"{file} is missing; download it from where the weights came from")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is not valid JSON ({error}); download it again") from error
    if not isinstance(value, dict):
        kind = type(value).__name__
        raise CheckpointError(f"{file} must hold a JSON object, got {kind}; download it again")
    return value


def _read_header(file: Path) -> dict[str, StoredTensor]:
    try:
        with safe_open(file, framework="numpy") as handle:
            return {
                name: StoredTensor(name, file, tuple(handle.get_slice(name).get_shape()))
                for name in handle.keys()  # noqa: SIM118 (the handle is not iterable)
            }
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{file} is truncated or is not a safetensors file ({error}); download it again"
        ) from error


def _shard_of_tensor(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{index} has no valid weight_map; download it again")
    return weight_map


def _read_shards(folder: Path, shard_of_tensor: dict[str, str]) -> dict[str, StoredTensor]:
    tensors: dict[str, StoredTensor] = {}
    for shard in sorted(set(shard_of_tensor.values())):
        file = folder / shard
        if not file.is_file():
            raise CheckpointError(f"shard {shard} named by {INDEX_FILE} is missing in {folder}; download it")
        tensors |= _read_header(file)
    absent = sorted(shard_of_tensor.keys() - tensors.keys())
    if absent:
        raise CheckpointError(
            f"tensor {absent[0]!r} is not in shard {shard_of_tensor[absent[0]]} as {INDEX_FILE} says; "
            "download index and shards again, from one revision"
        )
    return tensors
