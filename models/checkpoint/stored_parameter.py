"""A parameter that is still in its file."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from models.checkpoint.safetensors_header import DTYPES
from models.checkpoint.tensor_files import StoredTensor
from models.errors import CheckpointError

PIECE_BYTES = 2 << 20
"""Bytes of a file that are in memory at once: few next to a layer's, many next to what a disk reads in its latency."""
ALIGNMENT_BYTES = 64
"""Where an array has to begin for JAX on a CPU to take it over instead of copying it."""


@dataclass(frozen=True, slots=True)
class StoredParameter:
    """Stands for a parameter whose values have not been read, in the place of an array.

    A model may hold these instead of arrays: it can be planned and handed to a session, which reads each one straight to its
    home. Used in a computation, it is read anew for every use.

    Attributes:
        tensor: Where the values are.
        dtype: Dtype of the parameter; that of the file may be another.
        is_transposed: Whether the file holds [out, in] where the model holds [in, out].
    """

    tensor: StoredTensor
    dtype: np.dtype
    is_transposed: bool

    def __post_init__(self) -> None:
        if self.tensor.entry.dtype_name not in DTYPES:
            raise CheckpointError(
                f"tensor {self.tensor.name!r} of {self.tensor.file} is stored as {self.tensor.entry.dtype_name}, which is not "
                f"supported; use a checkpoint that is not quantised, in {', '.join(DTYPES)}"
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in the model."""
        return self.tensor.shape[::-1] if self.is_transposed else self.tensor.shape

    @property
    def nbytes(self) -> int:
        """Bytes in the model."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def read(self) -> np.ndarray:
        """Reads the values; beyond them, a piece of the file is in memory at a time.

        Returns:
            An array of the parameter's shape and dtype, aligned so that JAX on a CPU takes it over as it is.

        Raises:
            CheckpointError: If the file has become shorter or cannot be read.
        """
        values = _aligned(self.shape, self.dtype)
        rows = values.T if self.is_transposed else values
        stored = DTYPES[self.tensor.entry.dtype_name]
        row_bytes = max(1, self.tensor.entry.num_bytes // max(1, len(rows)))
        num_rows = max(1, PIECE_BYTES // row_bytes)
        piece = np.empty(min(num_rows, len(rows)) * row_bytes, np.uint8)
        try:
            with self.tensor.file.open("rb", buffering=0) as stream:
                stream.seek(self.tensor.entry.begin)
                for begin in range(0, len(rows), num_rows):
                    part = rows[begin : begin + num_rows]
                    read = piece[: len(part) * row_bytes]
                    _fill(stream, read.data)
                    part[...] = read.view(stored).reshape(part.shape)
        except OSError as error:
            raise CheckpointError(
                f"tensor {self.tensor.name!r} of {self.tensor.file} cannot be read: {error}; download the file again"
            ) from error
        return values

    def __getitem__(self, index: Any) -> jax.Array:
        """Returns values of the parameter, read for this use."""
        return jnp.asarray(self.read())[index]


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    num_bytes = int(np.prod(shape)) * dtype.itemsize
    memory = np.empty(num_bytes + ALIGNMENT_BYTES, np.uint8)
    begin = -memory.ctypes.data % ALIGNMENT_BYTES
    return memory[begin : begin + num_bytes].view(dtype).reshape(shape)


def _fill(stream: Any, target: memoryview) -> None:
    """Reads until the target is full: one call may read less than it was asked for.

    Raises:
        OSError: The file ends first.
    """
    while target:
        num_read = stream.readinto(target)
        if not num_read:
            raise OSError("the file ends before the tensor does")
        target = target[num_read:]
