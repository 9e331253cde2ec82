"""Writes checkpoints of zeros that take no room on disk."""

import json
import math
from pathlib import Path

from flax import nnx

from models import TransformerConfig, abstract
from models.checkpoint.hf_config import to_hf_config
from models.checkpoint.tensor_names import TensorNaming

ITEM_BYTES = 4


def write_zero_checkpoint(folder: Path, config: TransformerConfig) -> list[int]:
    """Writes a float32 checkpoint as a sparse file; returns the bytes of its tensors."""
    naming, fields, sizes = TensorNaming.of(config), {}, []
    for path, param in nnx.to_flat_state(nnx.state(abstract(config), nnx.Param)):
        name = naming.tensor_name(path)
        begin = sum(sizes)
        sizes.append(math.prod(param.shape) * ITEM_BYTES)
        shape = param.shape[::-1] if name.is_transposed else param.shape
        fields[name.name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, begin + sizes[-1]]}
    header = json.dumps(fields).encode()
    (folder / "config.json").write_text(json.dumps(to_hf_config(config, "float32")))
    with (folder / "model.safetensors").open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(stream.tell() + sum(sizes))
    return sizes
