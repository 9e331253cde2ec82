"""Frequency scaling of rotary positions for long contexts."""

import math
from dataclasses import dataclass

import numpy as np

from models.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Llama3RopeScaling:
    """Scales rotary frequencies as Llama 3.1 does.

    Wavelengths shorter than ``original_max_position / high_freq_factor`` keep their frequency, those longer
    than ``original_max_position / low_freq_factor`` are slowed by ``factor``, and those between are
    interpolated.

    Attributes:
        factor: How much the slowest frequencies are divided by; at least 1.
        low_freq_factor: Bound of the long wavelengths, as a divisor of the original context.
        high_freq_factor: Bound of the short wavelengths; above ``low_freq_factor``.
        original_max_position: Context of the first training, in tokens.

    References:
        Llama Team, "The Llama 3 Herd of Models", arXiv:2407.21783, and the reference code of Llama 3.1.
    """

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int

    def __post_init__(self) -> None:
        if self.factor < 1:
            raise ConfigError(f"rope scaling factor must be at least 1, got {self.factor}")
        if not 0 < self.low_freq_factor < self.high_freq_factor:
            raise ConfigError(
                "rope scaling needs 0 < low_freq_factor < high_freq_factor, "
                f"got {self.low_freq_factor} and {self.high_freq_factor}"
            )
        if self.original_max_position < 1:
            raise ConfigError(
                f"rope scaling original_max_position must be positive, got {self.original_max_position}"
            )

    def scale(self, frequencies: np.ndarray) -> np.ndarray:
        """Returns the scaled frequencies.

        Args:
            frequencies: float64[head_size / 2], radians per position.
        """
        turns = self.original_max_position * frequencies / (2 * math.pi)
        share = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        share = np.clip(share, 0.0, 1.0)
        return frequencies * (share + (1 - share) / self.factor)
