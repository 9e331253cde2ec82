"""What an operation demands, whatever device it runs on."""

import math
from dataclasses import dataclass, fields

from cost_models.errors import WorkError


@dataclass(frozen=True)
class Work:
    """Floating-point operations and bytes moved to and from a device's memory.

    Works add up, and a number of equal ones is a product: ``Work(2.0, 4.0, 4.0) * 40``.

    Attributes:
        flops: Floating-point operations.
        bytes_read: Bytes read.
        bytes_written: Bytes written.
        num_kernels: Kernels that run one after another, each with a start and an end of its own.
        num_matvecs: Those of the kernels that multiply one matrix with one vector.
        batched_matvec_bytes: Those of the bytes read that are batches of matrices of which each meets one vector, such as K and
            V of a decode attention whose heads do not share them.
    """

    flops: float = 0.0
    bytes_read: float = 0.0
    bytes_written: float = 0.0
    num_kernels: float = 0.0
    num_matvecs: float = 0.0
    batched_matvec_bytes: float = 0.0

    def __post_init__(self) -> None:
        for name in (field.name for field in fields(self)):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise WorkError(f"{name} = {value!r} is not accepted: expected a finite number of at least 0")
        if self.batched_matvec_bytes > self.bytes_read:
            raise WorkError(
                f"batched_matvec_bytes = {self.batched_matvec_bytes!r} is not accepted: they are among the "
                f"{self.bytes_read!r} bytes read"
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
            self.num_kernels + other.num_kernels,
            self.num_matvecs + other.num_matvecs,
            self.batched_matvec_bytes + other.batched_matvec_bytes,
        )

    def __mul__(self, count: float) -> "Work":
        return Work(*(getattr(self, field.name) * count for field in fields(self)))

    __rmul__ = __mul__
