"""A hash of a model's weights, by which measurements know what they were made on."""

import hashlib

import numpy as np
from flax import nnx

from models.transformer import Transformer


def weights_sha256(model: Transformer) -> str:
    """Returns the SHA-256 of all parameters, their names, shapes and dtypes, in hex."""
    digest = hashlib.sha256()
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    for path, param in sorted(flat, key=lambda item: tuple(map(str, item[0]))):
        values = np.asarray(param[...])
        digest.update(f"{'.'.join(map(str, path))} {values.shape} {values.dtype}\n".encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
