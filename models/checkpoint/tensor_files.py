"""The safetensors files of a checkpoint, and where in them each tensor lies."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoint.safetensors_header import HeaderEntry, read_header
from models.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in a file, not yet read.

    Attributes:
        name: Name in the file.
        file: The file.
        entry: Dtype, shape and place in it.
    """

    name: str
    file: Path
    entry: HeaderEntry

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape in the file."""
        return self.entry.shape


def find_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Returns every tensor of a checkpoint by name; reads headers only.

    Args:
        folder: Holds ``model.safetensors``, or shards and ``model.safetensors.index.json``.

    Raises:
        CheckpointError: If there is neither, a shard is missing, lacks a tensor or lies elsewhere, or a
            file is damaged.
    """
    if (folder / SINGLE_FILE).is_file():
        return _tensors_of(folder / SINGLE_FILE)
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


def _tensors_of(file: Path) -> dict[str, StoredTensor]:
    return {name: StoredTensor(name, file, entry) for name, entry in read_header(file).items()}


def _shard_of_tensor(index: Path) -> dict[str, str]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise CheckpointError(f"{index} has no valid weight_map; download it again")
    return weight_map


def _read_shards(folder: Path, shard_of_tensor: dict[str, str]) -> dict[str, StoredTensor]:
    by_shard: dict[str, dict[str, StoredTensor]] = {}
    for shard in sorted(set(shard_of_tensor.values())):
        if Path(shard).name != shard or shard == "..":
            raise CheckpointError(
                f"{INDEX_FILE} names the shard {shard!r}, which is no file of {folder}; shards are files beside their "
                "index, so download both again from where you trust them"
            )
        if not (folder / shard).is_file():
            raise CheckpointError(f"shard {shard} named by {INDEX_FILE} is missing in {folder}; download it")
        by_shard[shard] = _tensors_of(folder / shard)
    for name, shard in shard_of_tensor.items():
        if name not in by_shard[shard]:
            raise CheckpointError(
                f"tensor {name!r} is not in shard {shard} as {INDEX_FILE} says; "
                "download index and shards again, from one revision"
            )
    found = {name: tensor for tensors in by_shard.values() for name, tensor in tensors.items()}
    return found | {name: by_shard[shard][name] for name, shard in shard_of_tensor.items()}
