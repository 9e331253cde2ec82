"""The exponential of numbers that are not positive, in a form that the compiler can vectorise."""

import numpy as np

from runtime.kernels.compiling import inner
from runtime.kernels.elements import float_of

_INVERSE_LN2 = np.float32(1.0 / np.log(2.0))
_LN2 = np.float32(np.log(2.0))
_LOWEST = np.float32(-87.0)  # what lies below is less than the smallest normal float32 times 1.4, and gives 0


@inner
def exponential(x: np.float32) -> np.float32:
    """Returns ``exp(x)`` for ``x <= 0``, within 1e-6 of it relative to 1 + abs(x); NaN stays NaN.

    With ``x = n ln 2 + r`` and ``|r| <= ln 2 / 2`` the result is ``2**n exp(r)``. The series of ``exp(r)`` ends with the sixth
    power, after which ``0.35**7 / 7! < 1.3e-7`` is left; ``2**n`` is made of its bits.
    """
    n = np.floor(x * _INVERSE_LN2 + np.float32(0.5))
    n = n if n > np.float32(-126.0) else np.float32(-126.0)
    r = x - n * _LN2
    series = np.float32(1.0 / 720.0)
    series = series * r + np.float32(1.0 / 120.0)
    series = series * r + np.float32(1.0 / 24.0)
    series = series * r + np.float32(1.0 / 6.0)
    series = series * r + np.float32(0.5)
    series = series * r + np.float32(1.0)
    series = series * r + np.float32(1.0)
    power = float_of(np.uint32(np.uint32(np.int32(n) + np.int32(127)) << np.uint32(23)))
    return np.float32(0.0) if x < _LOWEST else series * power
