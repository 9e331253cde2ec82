"""The header of a safetensors file: what lies where in it.

The file begins with the header's length, eight bytes, little-endian; then the header, a JSON object of tensors by name; then
their bytes. The library that writes such files maps them into memory to read them, and does not say where a tensor lies.

References:
    https://github.com/huggingface/safetensors, section "Format".
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jax import numpy as jnp

from models.errors import CheckpointError

LENGTH_BYTES = 8
LARGEST_HEADER_BYTES = 100_000_000
"""Of the library; a longer one is damage."""
DTYPES: dict[str, np.dtype] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(jnp.bfloat16),
}


@dataclass(frozen=True, slots=True)
class HeaderEntry:
    """Where a tensor lies in its file.

    Attributes:
        dtype_name: Dtype as the file names it, such as ``BF16``.
        shape: Its shape.
        begin: Its first byte, counted from the file's.
        num_bytes: Its bytes.
    """

    dtype_name: str
    shape: tuple[int, ...]
    begin: int
    num_bytes: int


def read_header(file: Path) -> dict[str, HeaderEntry]:
    """Returns every tensor of a file by name.

    Raises:
        CheckpointError: If the file is not a whole safetensors file.
    """
    try:
        file_bytes = file.stat().st_size
        with file.open("rb") as stream:
            header_bytes = int.from_bytes(stream.read(LENGTH_BYTES), "little")
            largest = min(file_bytes - LENGTH_BYTES, LARGEST_HEADER_BYTES)
            if header_bytes > largest:
                raise _damage(
                    file, f"its header of {header_bytes} bytes reaches beyond the {largest} it can have"
                )
            fields = json.loads(stream.read(header_bytes))
    except (OSError, ValueError) as error:
        raise error if isinstance(error, CheckpointError) else _damage(file, str(error)) from error
    if not isinstance(fields, dict):
        raise _damage(file, "its header is no JSON object")
    data_begin = LENGTH_BYTES + header_bytes
    return {
        name: _entry(file, name, field, data_begin, file_bytes)
        for name, field in fields.items()
        if name != "__metadata__"
    }


def _entry(file: Path, name: str, field: Any, data_begin: int, file_bytes: int) -> HeaderEntry:
    match field:
        case {"dtype": str(dtype_name), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise _damage(file, f"tensor {name!r} has no dtype, shape and data_offsets")
    if not all(isinstance(size, int) and size >= 0 for size in shape) or not 0 <= begin <= end:
        raise _damage(file, f"tensor {name!r} has shape {shape} and offsets {begin} to {end}")
    if data_begin + end > file_bytes:
        raise _damage(file, f"tensor {name!r} ends at byte {data_begin + end} of {file_bytes}")
    dtype = DTYPES.get(dtype_name)
    if dtype is not None and math.prod(shape) * dtype.itemsize != end - begin:
        raise _damage(file, f"tensor {name!r} is {dtype_name}{shape} in {end - begin} bytes")
    return HeaderEntry(dtype_name, tuple(shape), data_begin + begin, end - begin)


def _damage(file: Path, what: str) -> CheckpointError:
    return CheckpointError(f"{file} is truncated or is not a safetensors file ({what}); download it again")
