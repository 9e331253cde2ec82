"""Arrays in the one form that kernels are compiled for."""

from typing import Any

import numpy as np


def kernel_input(values: Any, dtype: Any) -> np.ndarray:
    """Returns an array that is contiguous and can be written, a copy where it is not.

    To the compiler, an array that cannot be written, as those that come from JAX, is of another type: an attention would wait
    for a second variant of its kernel.
    """
    array = np.ascontiguousarray(values, dtype)
    return array if array.flags.writeable else array.copy()
