"""What an operation demands, whatever device it runs on."""

import math
from dataclasses import dataclass

from cost_models.errors import WorkError


@dataclass(frozen=True)
class Work:
    """Floating-point operations and bytes moved to and from a device's memory.

    Works add up, and a number of equal ones is a product: ``Work(2.0, 4.0, 4.0) * 40``.
    """

    flops: float = 0.0
    bytes_read: float = 0.0
    bytes_written: float = 0.0

    def __post_init__(self) -> None:
        for field in ("flops", "bytes_read", "bytes_written"):
            value = getattr(self, field)
            if not math.isfinite(value) or value < 0:
                raise WorkError(
                    f"{field} = {value!r} is not accepted: expected a finite number of at least 0"
                )

    @property
    def num_bytes(self) -> float:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def arithmetic_intensity(self) -> float:
        """FLOP per byte moved; infinite where nothing moves but something is computed, zero for no work."""
        if self.num_bytes:
            return self.flops / self.num_bytes
        return math.inf if self.flops else 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.flops + other.flops,
            self.bytes_read + other.bytes_read,
            self.bytes_written + other.bytes_written,
        )

    def __mul__(self, count: float) -> "Work":
        return Work(self.flops * count, self.bytes_read * count, self.bytes_written * count)

    __rmul__ = __mul__
